"""Writing the live model: as a SavedModel, and as the Keras file that other targets are made from."""

import shutil
import traceback
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from converters.contract.errors import BadInput, raised, said
from converters.contract.values import KERAS
from converters.formats import fingerprint, keras_config, saved_model
from converters.formats.portable import make_portable
from converters.source.live import Live


def export(live: Live, path: Path, model: str, tags: Iterable[str] | None = None) -> tuple[str, list[str]]:
    """Write the live model as a SavedModel. Its digest, and what was changed in the copy of a given one, a sentence each.

    Args:
        model: what the config calls it, for messages.
        tags: the tag-set to take of a given SavedModel, where one was named.

    Raises:
        BadInput: the model cannot be exported as a SavedModel.
    """
    if live.kind == "saved_model":
        shutil.copytree(live.model, path)
    else:
        _save(live, path, model)
    notes = make_portable(path, tags if live.kind == "saved_model" else None)
    written = saved_model.signatures(saved_model.read(path))
    # TensorFlow renames what it cannot keep, and only logs it.
    for key, signature in live.signatures.items():
        names = written[key].inputs.keys() if key in written else set()
        if key not in written or names != signature.inputs.keys():
            raise BadInput(
                f"{model}: signature {key!r} was exported with inputs {sorted(names)} in place of "
                f"{sorted(signature.inputs)}; rename them so that they are valid identifiers"
            )
    return fingerprint.of_saved_model(path, live.signatures), notes


def _save(live: Live, path: Path, model: str) -> None:
    import tensorflow as tf

    archive = tf.Module()
    archive.roots = _roots(live)
    concretes = {key: endpoint.concrete for key, endpoint in live.endpoints.items()}
    try:
        tf.saved_model.save(archive, str(path), signatures=concretes)
    except (ValueError, AssertionError, TypeError) as error:
        raise BadInput(f"{model}: TensorFlow cannot export it: {said(error, 400)}") from error


def _roots(live: Live) -> list[Any]:
    """What the SavedModel must track so that the endpoints' variables, tables and assets are saved.

    A Keras model itself is not tracked: saving it would trace every layer's own functions too (seconds for a large
    model), which no runtime here uses. Its weights are listed, also those that no endpoint uses; so are what else endpoints
    use, its lookup tables, and whatever else is a resource (tf.saved_model.experimental.TrackableResource, or a dataset's).
    """
    import tensorflow as tf

    if live.kind == "module":
        return [live.model]
    weights = [v if isinstance(v, tf.Variable) else v.value for v in live.variables]  # Keras 3 has them in its own
    descendants = tf.train.TrackableView(live.model).descendants()
    tables = [item for item in descendants if hasattr(type(item), "resource_handle")]
    return [*{id(item): item for item in [*weights, *live.captured(), *tables]}.values()]


def save_keras(live: Live, folder: Path) -> tuple[Path | None, str | None]:
    """The file in `folder` that other targets make the Keras model of; the reason where it cannot be saved. Or neither.

    It is HDF5 where that holds the model, since it is what two targets are made from, without loading it again.
    """
    if live.kind not in KERAS:
        return None, None
    hdf5 = folder / "source.h5"
    if live.kind == "tf_keras" and keras_config.is_portable(keras_config.of_model(live.model)):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # that HDF5 is an old format
                live.model.save(hdf5, include_optimizer=False)
            return hdf5, None
        except Exception:  # two weights of one name, among others: Keras's own format then holds the model
            traceback.print_exc()
            hdf5.unlink(missing_ok=True)
    path = folder / "source.keras"
    try:
        live.model.save(path)
    except Exception as error:  # a subclassed model without get_config raises of several kinds
        return None, f"Keras cannot save the model: {raised(error)}"
    return path, None
