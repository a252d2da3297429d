"""Writing a linear model's variables and its signature."""

from pathlib import Path

from converters.contract.errors import Unsupported
from converters.contract.target import Options
from converters.contract.values import Artifact, Source
from converters.formats import variables
from fanout_toy import NAME


def convert(source: Source, variant: str, out_dir: Path, options: Options) -> list[Artifact]:
    """Write toy/VARIANT.npz. Raises Unsupported for what is no `weight` and `offset`."""
    import numpy as np

    values = variables.of_saved_model(source.saved_model)
    if set(values) != {"weight", "offset"}:
        raise Unsupported(f"the toy holds a weight and an offset, and this model has {', '.join(values)}; use another")
    path = out_dir / NAME / f"{variant}.npz"
    path.parent.mkdir(parents=True, exist_ok=True)
    ((key, signature),) = source.signatures.items()
    np.savez(path, key=key, signature=signature.model_dump_json(), **values)
    return [Artifact(target=NAME, variant=variant, signature=key, path=path)]
