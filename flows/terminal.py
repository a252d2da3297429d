"""What all commands share: the consoles, and the options that several have."""

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from converters.contract.errors import BadInput
from converters.release.manifest import Manifest
from flows import completion
from flows.show.tables import ManifestTable
from flows.show.terminal import Terminal

# A pipe or file has no width: tables there are as wide as they need.
out = Terminal(width=None if sys.stdout.isatty() else 200)
err = Terminal(stderr=True)

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")]
Releases = Annotated[
    Path | None,
    typer.Option("--releases", metavar="DIR", help="Where releases are; default FANOUT_RELEASES or releases/."),
]
TrustCode = Annotated[
    bool, typer.Option("--trust-code", help="Run the code that came with what you name; you trust its maker.")
]
Model = Annotated[str, typer.Argument(metavar="MODEL", help="A model's name.", autocompletion=completion.released)]
Quiet = Annotated[
    bool, typer.Option("--quiet", "-q", help="No progress, and a line for each release in place of its table.")
]
Verbose = Annotated[
    bool, typer.Option("--verbose", "-v", help="Every check of every row too, and what each step prints meanwhile.")
]
Wide = Annotated[
    bool, typer.Option("--wide", help="All columns of the table, also those that the terminal has no room for.")
]


def example(*commands: str) -> str:
    """The end of a command's help."""
    return "\n".join([f"Example{'s' if len(commands) > 1 else ''}:", *(f"  {command}" for command in commands)])


def progress(quiet: bool, verbose: bool) -> Terminal:
    """Where progress goes. Raises BadInput where more and less of it are asked for at once."""
    if quiet and verbose:
        raise BadInput("--quiet and --verbose say the opposite; give one of them")
    return Terminal(stderr=True, quiet=True) if quiet else err


def show(manifest: Manifest, *, wide: bool, verbose: bool) -> None:
    """A release's table on stdout."""
    out.print(ManifestTable(manifest, wide=wide, checks=verbose), crop=not wide)


def print_json(document: Any) -> None:
    """One document, and all of stdout."""
    sys.stdout.write(json.dumps(document, indent=1) + "\n")
