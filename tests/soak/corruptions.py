"""A release is changed at random: a bit, an end cut off, a file gone, two swapped, one more, a link, an edit of the manifest.

Every change is found; those where the digests were written anew are found by the signature.
"""

import argparse
import json
import os
import random
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import releases
import samples
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from staying import staying

from converters.contract.errors import SignatureFailed
from converters.contract.layout import MANIFEST, SIGNATURE
from converters.release import durable, files
from converters.release import manifest as manifests
from converters.release.signing import Keys, key_id
from tests.soak import material

Change = Callable[[random.Random, Path, list[Path]], None]


def _bit(generator: random.Random, root: Path, files: list[Path]) -> None:
    path = generator.choice([file for file in files if file.stat().st_size])
    content = bytearray(path.read_bytes())
    content[generator.randrange(len(content))] ^= 1 << generator.randrange(8)
    path.write_bytes(content)


def _truncation(generator: random.Random, root: Path, files: list[Path]) -> None:
    path = generator.choice([file for file in files if file.stat().st_size])
    os.truncate(path, generator.randrange(path.stat().st_size))


def _deletion(generator: random.Random, root: Path, files: list[Path]) -> None:
    generator.choice([file for file in files if file.name != "manifest.json"]).unlink()


def _swap(generator: random.Random, root: Path, files: list[Path]) -> None:
    one, other = generator.sample([file for file in files if file.name != "manifest.json"], 2)
    if one.read_bytes() == other.read_bytes():
        one.unlink()
        return
    aside = root / "aside"
    one.rename(aside)
    other.rename(one)
    aside.rename(other)


def _extra(generator: random.Random, root: Path, files: list[Path]) -> None:
    folder = generator.choice(files).parent
    (folder / f"extra-{generator.randrange(10**6)}").write_bytes(generator.randbytes(generator.randrange(20)))


def _folder(generator: random.Random, root: Path, files: list[Path]) -> None:
    (generator.choice(files).parent / f"{generator.randrange(10**6)}").mkdir()


def _symlink(generator: random.Random, root: Path, files: list[Path]) -> None:
    path = generator.choice([file for file in files if file.name != "manifest.json"])
    elsewhere = root.parent / "elsewhere"
    path.rename(elsewhere)
    path.symlink_to(elsewhere)


def _hard_link(generator: random.Random, root: Path, files: list[Path]) -> None:
    os.link(generator.choice(files), root.parent / "elsewhere")


def _fifo(generator: random.Random, root: Path, files: list[Path]) -> None:
    os.mkfifo(generator.choice(files).parent / "fifo")


def _mode(generator: random.Random, root: Path, files: list[Path]) -> None:
    generator.choice(files).chmod(0o644 | 1 << generator.choice([0, 1, 3, 4, 6, 11]))


def _edit(generator: random.Random, root: Path, files: list[Path]) -> None:
    path = root / "manifest.json"
    document = json.loads(path.read_text())
    place = generator.choice([document, generator.choice(document["targets"]), document["source"]])
    name = generator.choice(list(place))
    place[name] = "edited" if place[name] != "edited" else None
    path.write_text(json.dumps(document, indent=1) + "\n")


CHANGES: list[Change] = [
    *(_bit, _truncation, _deletion, _swap, _extra, _folder),
    *(_symlink, _hard_link, _fifo, _mode, _edit),
]


def sweep(changes: int, release: Path, scratch: Path, seed: int = 0) -> Counter[str]:
    """How many of each kind were found. Raises AssertionError where one was not."""
    generator, found = random.Random(seed), Counter[str]()
    for number in range(changes):
        root = scratch / str(number) / "release"
        shutil.copytree(release, root)
        change = CHANGES[number % len(CHANGES)]
        change(generator, root, sorted(file for file in root.rglob("*") if file.is_file()))
        assert material.problems(root), f"change {number}, {change.__name__}, was not found"
        found[change.__name__.strip("_").replace("_", " ")] += 1
        shutil.rmtree(root.parent)
    return found


def _claim(generator: random.Random, root: Path, listed: list[Path]) -> None:
    """Another manifest that is one."""
    written = manifests.read(root)
    row = generator.randrange(len(written.targets))
    better = written.targets[row].model_copy(update={"checks": [], "seconds": {"check": generator.random()}})
    rows = [*written.targets[:row], better, *written.targets[row + 1 :]]
    (root / MANIFEST).write_text(written.model_copy(update={"targets": rows}).to_json())


FORGED: list[Change] = [_bit, _truncation, _deletion, _swap, _extra, _claim]
SIGNED = ["as before", "not at all", "by another"]


def forgery(changes: int, release: Path, scratch: Path, seed: int = 0) -> int:
    """How many changes were found by the signature alone, all digests being those of the changed files. Raises AssertionError."""
    generator, key = random.Random(seed), Ed25519PrivateKey.generate()
    keys = Keys(signing=key, trusted={key_id(key.public_key()): key.public_key()})
    for number in range(changes):
        root = scratch / f"forged-{number}"
        shutil.copytree(release, root)
        signature = keys.sign((root / MANIFEST).read_bytes())
        assert signature is not None
        (root / SIGNATURE).write_bytes(signature)
        assert keys.verify(root) is not None
        listed = [root / name for name in sorted(manifests.read(root).files)]
        FORGED[number % len(FORGED)](generator, root, listed)
        for folder in sorted((path for path in root.rglob("*") if path.is_dir()), reverse=True):
            if not any(folder.iterdir()):
                folder.rmdir()  # as whoever forges it would
        durable.settle(root)
        written = manifests.read(root).model_copy(update={"files": files.record_files(root)})
        (root / MANIFEST).write_text(written.sealed().to_json())
        match SIGNED[number // len(FORGED) % len(SIGNED)]:
            case "not at all":
                (root / SIGNATURE).unlink()
            case "by another":
                other = Keys(signing=Ed25519PrivateKey.generate()).sign((root / MANIFEST).read_bytes())
                (root / SIGNATURE).write_bytes(other or b"")
        assert material.problems(root) == []
        try:
            keys.verify(root)
        except SignatureFailed:
            shutil.rmtree(root)
        else:
            raise AssertionError(f"forgery {number} was not found")
    return changes


def made(folder: Path) -> Path:
    """A release of a small model with every target that needs no browser."""
    spec = samples.write_spec(folder, samples.KERAS, targets={"tflite": {}, "hdf5": {}, "serving": {}})
    with staying() as pool:
        return releases.publish(spec, folder / "releases", pool).path


def main() -> None:
    """Print the counts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--many", type=float, default=1.0, help="times 1000")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        release = made(Path(name))
        found = sweep(round(1000 * arguments.many), release, Path(name), arguments.seed)
        forged = forgery(round(1000 * arguments.many), release, Path(name), arguments.seed)
    print(f"corruptions: {found.total()} of {round(1000 * arguments.many)} found: {dict(found)}", flush=True)
    print(f"forgeries: {forged} found", flush=True)


if __name__ == "__main__":
    main()
