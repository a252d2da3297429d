"""The SavedModel itself: nothing is converted."""

from pathlib import Path

from converters.contract.target import Options
from converters.contract.values import Artifact, Source
from converters.targets.saved_model import NAME


def convert(source: Source, variant: str, out_dir: Path, options: Options) -> list[Artifact]:
    """The export is the artifact: every target is made from this very directory."""
    return [Artifact(target=NAME, variant=variant, signature=key, path=source.saved_model) for key in source.signatures]
