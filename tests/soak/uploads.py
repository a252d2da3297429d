"""Publishing elsewhere is ended by SIGKILL at a random moment, again and again; the place is a server that speaks S3.

After each: what is current there is whole, and so is what models.config names; the next call sends the rest, and nothing
else is left.
"""

import argparse
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import s3
from fsspec.core import url_to_fs

from converters.contract.errors import BadInput
from converters.release import files, manifest
from converters.release.mirror import Mirror
from converters.targets.serving import layout
from tests.soak import material

MODEL = "uploaded"
_PUBLISH = """
import sys
from pathlib import Path
from converters.release.mirror import Mirror
mirror = Mirror(sys.argv[1])
mirror.current(sys.argv[2])  # all that it takes is loaded, and connected
print("ready", flush=True)
mirror.publish(Path(sys.argv[3]))
"""


def sweep(kills: int, template: Path, folder: Path, seed: int = 0) -> Counter[str]:
    """Publish so many versions of a release, each killed once before. Returns counts. Raises AssertionError."""
    generator, counts = random.Random(seed), Counter[str]()
    with s3.running(folder) as server:
        mirror = Mirror(f"s3://{server.bucket}/releases")
        mirror.publish(_version(folder, template))
        started = time.monotonic()
        mirror.publish(_version(folder, template))
        longest = time.monotonic() - started
        for version in range(3, kills + 3):
            release = _version(folder, template)
            _killed(mirror.url, release, generator.uniform(0, 2 * longest))
            current = mirror.current(MODEL)
            counts["switched before" if current == version else "killed before the switch"] += 1
            assert current in (version - 1, version), current
            _require_whole(mirror, current)
            listed = _listed(mirror)
            _require_whole(mirror, int(listed.split("/")[-2]))
            try:
                _require_whole(mirror, version)
                counts["there, whole"] += 1
            except BadInput:
                counts["not there yet"] += 1
            begun = len(server.puts())
            sent = mirror.publish(release).files
            # The manifest and the two pointers are written beside, and copied.
            assert len(server.puts()) - begun <= (sent - 1) + 3 * 2
            counts["files"] += len(manifest.read(release).files) + 1
            counts["files sent after"] += sent
            assert mirror.current(MODEL) == version
            _require_whole(mirror, version)
            assert _listed(mirror) == f"{mirror.url}/{MODEL}/{version}/serving"
            fs, root = url_to_fs(mirror.url)
            fs.invalidate_cache()
            left = [name for name in fs.find(root) if name.endswith(".part")]
            assert left == [], left
    return counts


def _version(folder: Path, template: Path) -> Path:
    return folder / "versions" / MODEL / str(material.another(folder / "versions", MODEL, template))


def _killed(url: str, release: Path, seconds: float) -> None:
    process = subprocess.Popen([sys.executable, "-c", _PUBLISH, url, MODEL, str(release)], stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(seconds)
    finally:
        process.kill()
        process.communicate()


def _require_whole(mirror: Mirror, version: int) -> None:
    with mirror.fetch(MODEL, version) as copy:
        assert files.changed_files(copy, manifest.read(copy)) == {}


def _listed(mirror: Mirror) -> str:
    fs, root = url_to_fs(mirror.url)
    return layout.parse_models_config(fs.cat_file(f"{root}/{layout.CONFIG}").decode())[MODEL]


def main() -> None:
    """Print the counts."""
    from tests.soak.switching import made

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--many", type=float, default=1.0, help="times 200")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        counts = sweep(round(200 * arguments.many), made(Path(name)), Path(name), arguments.seed)
    print(f"uploads: {round(200 * arguments.many)} kills, 0 faults: {dict(counts)}", flush=True)


if __name__ == "__main__":
    main()
