"""`fanout check` needs nothing but the release: another checkout, without configs, builders and the original."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import releases
import samples
from staying import staying

from converters.contract import layout

pytestmark = pytest.mark.tensorflow

LATER = ("digests", "repeats")
CHECKOUT = Path(__file__).resolve().parents[2]


def another_checkout(folder: Path) -> Path:
    """The two packages alone, with what npm installed."""
    for package in ("converters", "flows"):
        shutil.copytree(
            CHECKOUT / package, folder / package, ignore=shutil.ignore_patterns("node_modules", "__pycache__")
        )
    (folder / "converters/javascript/js/node_modules").symlink_to(CHECKOUT / "converters/javascript/js/node_modules")
    return folder


def checked_in(checkout: Path, release: Path, home: Path) -> tuple[int, Any]:
    """Exit status and manifest of `fanout check` there."""
    environment = {"PATH": os.environ["PATH"], "HOME": str(home), "PYTHONPATH": str(checkout)}
    command = [sys.executable, "-m", "flows", "check", str(release), "--json"]
    done = subprocess.run(command, env=environment, cwd=home, capture_output=True, text=True, check=False)
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


def findings(rows: Any) -> Any:
    """What a row says, without what it took to find out and what only a check of a release that exists can say."""
    told = ("target", "variant", "signature", "status", "reason", "path", "bytes")
    measured = ("name", "runtime", "status", "measured", "limit", "detail")
    return [
        (
            [row[name] for name in told],
            [[c[name] for name in measured] for c in row["checks"] if c["name"] not in LATER],
        )
        for row in rows
    ]


@pytest.mark.parametrize("code", [samples.KERAS, samples.MODULE], ids=["keras", "module"])
def test_check_gives_the_same_rows_when_only_the_release_is_left(tmp_path: Path, code: str) -> None:
    origin, elsewhere, home = tmp_path / "origin", tmp_path / "elsewhere", tmp_path / "home"
    for folder in (origin, elsewhere, home):
        folder.mkdir()
    with staying() as pool:
        released = releases.publish(samples.write_spec(origin, code), origin / "releases", pool)
    assert released.manifest.refusals == []
    shutil.copytree(released.path, elsewhere / "copy")
    shutil.rmtree(origin)
    status, document = checked_in(another_checkout(tmp_path / "checkout"), elsewhere / "copy", home)
    assert status == 0
    written = json.loads((elsewhere / "copy" / layout.MANIFEST).read_bytes())
    assert findings(document["targets"]) == findings(written["targets"])
    assert (elsewhere / "copy" / layout.MANIFEST).read_bytes() == json.dumps(written, indent=1).encode() + b"\n"


def test_check_is_red_elsewhere_when_a_file_is_gone(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    spec = samples.write_spec(tmp_path, samples.KERAS, targets={"hdf5": {}})
    with staying() as pool:
        released = releases.publish(spec, tmp_path / "releases", pool)
    shutil.rmtree(released.path / "saved_model" / "variables")
    assert checked_in(another_checkout(tmp_path / "checkout"), released.path, home)[0] == 1
