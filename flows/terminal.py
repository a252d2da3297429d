"""What all commands share: the consoles, and the options that several have."""

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

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
Model = Annotated[str, typer.Argument(metavar="MODEL", help="A model's name.")]


def print_json(document: Any) -> None:
    """One document, and all of stdout."""
    sys.stdout.write(json.dumps(document, indent=1) + "\n")
