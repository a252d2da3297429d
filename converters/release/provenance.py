"""What a release was made from, by what and when: an in-toto Statement (v1) whose predicate is SLSA's Provenance (v1).

Specifications: in-toto/attestation, spec/v1/statement.md and resource_descriptor.md; slsa.dev, spec v1.0, provenance.
"""

import json
import time
from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import PurePath
from typing import Any, NamedTuple
from urllib.parse import quote

from converters.config.spec import ModelSpec
from converters.contract.layout import CONFIG
from converters.formats import digest
from converters.release import installed
from converters.release.manifest import FileRecord, environment

STATEMENT = "https://in-toto.io/Statement/v1"
PREDICATE = "https://slsa.dev/provenance/v1"
BUILD_TYPE = "urn:tf-fanout:deploy:1"
BUILDER = "urn:tf-fanout:builder:1"
_PACKAGE = "tf-fanout"


class Run(NamedTuple):
    """The run that makes a version: when it began (`time.monotonic()`), its `id`, what it held at most and what the build read.

    `by` is what the history calls it. `reads` is the SHA-256 of each file by its path, relative to the config's folder or absolute.
    """

    started: float
    id: str
    by: str | None = None
    reads: Mapping[str, str] = {}
    peak_memory_mb: float | None = None


def statement(spec: ModelSpec, number: int, files: Mapping[str, FileRecord], run: Run) -> str:
    """The text of provenance.json for version `number`, of which `files` are all files but this one and the manifest."""
    finished = datetime.now(timezone.utc)
    started = finished - timedelta(seconds=time.monotonic() - run.started)
    subject = [{"name": name, "digest": {"sha256": record.sha256}} for name, record in files.items()]
    predicate = {
        "buildDefinition": {
            "buildType": BUILD_TYPE,
            "externalParameters": {
                "model": spec.name,
                "version": number,
                "source": _without_folders(spec.model),
                "config": {"name": CONFIG, "digest": {"sha256": files[CONFIG].sha256}},
                "targets": {name: list(options.variants) for name, options in spec.targets.items()},
            },
            "internalParameters": environment(),
            "resolvedDependencies": [*_sources(spec, run.reads), *_packages()],
        },
        "runDetails": {
            "builder": {"id": BUILDER, "version": {_PACKAGE: _own_version()}},
            "metadata": {
                "invocationId": run.id,
                "startedOn": _timestamp(started),
                "finishedOn": _timestamp(finished),
            },
        },
    }
    document = {"_type": STATEMENT, "subject": subject, "predicateType": PREDICATE, "predicate": predicate}
    return json.dumps(document, indent=1, allow_nan=False) + "\n"


def _sources(spec: ModelSpec, reads: Mapping[str, str]) -> list[dict[str, Any]]:
    """The files that the model was made of: what the build read, what the config names, and the code that did it all."""
    base = spec.base.resolve()
    files = dict(reads)
    custom = [spec.custom_file] if spec.custom_file is not None else []
    for path in (*spec.given_files(), *spec.declared_files(), *custom):
        inside = path.resolve().is_relative_to(base)
        files[path.resolve().relative_to(base).as_posix() if inside else str(path)] = digest.of_file(path)
    named = [{"name": _without_folders(name), "digest": {"sha256": content}} for name, content in sorted(files.items())]
    code = {
        "name": f"the code of {_PACKAGE}",
        "uri": _purl(_PACKAGE, _own_version()),
        "digest": {"tfFanoutCode": digest.of_package()},
    }
    return [*named, code]


def _packages() -> list[dict[str, Any]]:
    """Every installed distribution as a package URL (purl-spec, type pypi)."""
    named = (each.rpartition("-") for each in installed.distributions())
    every = {_purl(name, number) for name, _, number in named}
    return [{"uri": uri} for uri in sorted(every - {_purl(_PACKAGE, _own_version())})]


def _purl(name: str, number: str) -> str:
    return f"pkg:pypi/{name.lower().replace('_', '-')}@{quote(number, safe='.-_~')}"


def _own_version() -> str:
    try:
        return version(_PACKAGE)
    except PackageNotFoundError:  # run from its folder, without being installed
        return "0"


def _without_folders(name: str) -> str:
    """A path below the config's folder as it is; of any other the last part, since where a machine has it is its own affair."""
    path = PurePath(name)
    return path.name if path.is_absolute() or ".." in path.parts else name


def _timestamp(moment: datetime) -> str:
    """RFC 3339; `moment` is in UTC."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
