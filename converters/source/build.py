"""Build the live model, record golden from it, export it as a SavedModel.

`build`, `keep` and `export` are calls on one child process: the live model stays in that process's memory between them
and never leaves it. Everything after works from the `Source` that `export` returns, by path and digest.
"""

import shutil
import traceback
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from converters.config.spec import ModelSpec
from converters.contract.errors import BadInput
from converters.contract.layout import GOLDEN, REPRESENTATIVE, SAVED_MODEL
from converters.contract.settings import Tolerance
from converters.contract.values import Case, Frozen, Signature, Source, SourceKind, Tensors
from converters.formats import fingerprint, keras_config, variables
from converters.formats import saved_model as meta_graph
from converters.formats.portable import make_portable
from converters.reference import golden, labelled
from converters.source.bring_up import bring_up
from converters.source.inputs import drawn, given, require_known, save_representative, widest
from converters.source.live import Live
from converters.source.trace import answer, precision_of, signature_of, trace

_live: Live | None = None
_keras: tuple[Path | None, str | None] | None = None
"""The Keras file, once there is one, or why there is none."""


class Built(Frozen):
    """What `build` found out about the live model."""

    kind: SourceKind
    parameters: int
    signatures: dict[str, Signature]
    drawn_for: Tolerance | None
    """What golden's inputs were chosen to tell apart; None where all were given."""


def build(spec: ModelSpec, out_dir: Path, work_dir: Path) -> Built:
    """Make the live model and record golden: inputs, and what it returns for them.

    Writes `out_dir/golden.npz`, what `evaluation.record` does and, for int8 calibration, `work_dir/representative.npz`,
    unless golden's inputs are given and no others for calibration.

    Raises:
        BadInput: the model or its data cannot be made; BuilderFailed where the user's code raised.
    """
    import tensorflow as tf

    global _live, _keras
    tf.keras.utils.set_random_seed(spec.golden.seed)
    live = bring_up(spec)
    for endpoint in live.endpoints.values():
        trace(endpoint)
    signatures = {key: signature_of(endpoint) for key, endpoint in live.endpoints.items()}
    require_known(spec.golden, spec.classifiers, signatures)
    data = given(spec.golden.data, spec, "golden.data", signatures)
    computed_in = precision_of(live)
    cases, calibration, covered = {}, {}, {}
    for key, endpoint in live.endpoints.items():
        if key in data:
            where = f"golden.data ({spec.golden.data})"
            inputs = golden.from_data(data[key], key, signatures[key], spec.golden, where)
            cases[key] = [Case(inputs=tensors, outputs=answer(endpoint, tensors)) for tensors in inputs]
            covered[key] = live.reach(endpoint, inputs[0])
        else:
            chosen, calibration[key] = drawn(live, endpoint, spec, computed_in)
            cases[key] = chosen.cases
            covered[key] = chosen.coverage or live.reach(endpoint, chosen.cases[0].inputs)
    weights = (
        variables.of_saved_model(Path(live.model)) if live.kind == "saved_model" else variables.of_live(live.variables)
    )
    recorded = golden.Golden(
        cases=cases, variables=variables.describe(weights), coverage=covered, precision=computed_in
    )
    golden.save(recorded, out_dir / GOLDEN)
    if spec.evaluation is not None:

        def call(key: str, inputs: Tensors) -> Tensors:
            return answer(live.endpoints[key], inputs, "evaluation outputs")

        labelled.record(spec.evaluation, spec.base, signatures, call, out_dir)
    if spec.representative is not None:
        save_representative(spec, live, work_dir / REPRESENTATIVE)
    elif calibration:
        golden.save_inputs(calibration, work_dir / REPRESENTATIVE)
    _live, _keras = live, None
    parameters = sum(int(value.size) for value in weights.values())
    drawn_for = widest(spec) if calibration else None
    return Built(kind=live.kind, parameters=parameters, signatures=signatures, drawn_for=drawn_for)


def keep(spec: ModelSpec, out_dir: Path, work_dir: Path, version: int) -> Source | None:
    """Save a Keras file of the live model in `work_dir`, between `build` and `export`.

    Returned is the source as far as there is one then, for what is made of that file alone; None where the model is no
    Keras model.
    """
    assert _live is not None, "keep is called on the child that build was called on"
    if _live.kind not in ("tf_keras", "keras"):
        return None
    return _source(spec, out_dir, work_dir, version, digest="")


def _source(
    spec: ModelSpec, out_dir: Path, work_dir: Path, version: int, *, digest: str, notes: Sequence[str] = ()
) -> Source:
    global _keras
    assert _live is not None
    if _keras is None:
        _keras = _save_keras(_live, work_dir) if _live.kind in ("tf_keras", "keras") else (None, None)
    keras_file, keras_problem = _keras
    representative = work_dir / REPRESENTATIVE
    return Source(
        model=spec.name,
        version=version,
        kind=_live.kind,
        digest=digest,
        signatures={key: signature_of(endpoint) for key, endpoint in _live.endpoints.items()},
        saved_model=out_dir / SAVED_MODEL,
        golden=out_dir / GOLDEN,
        keras_file=keras_file,
        keras_problem=keras_problem,
        keras_signature=_live.keras_signature,
        builder=_live.builder,
        representative=representative if representative.is_file() else None,
        refused=_live.refused,
        notes=tuple(notes),
    )


def export(spec: ModelSpec, out_dir: Path, work_dir: Path, version: int) -> Source:
    """Write the live model as `out_dir/saved_model` and, unless `keep` did, the Keras file of a Keras model in `work_dir`.

    Raises:
        BadInput: the model cannot be exported as a SavedModel.
    """
    import tensorflow as tf

    assert _live is not None, "export is called on the child that build was called on"
    saved_model = out_dir / SAVED_MODEL
    if _live.kind == "saved_model":
        shutil.copytree(_live.model, saved_model)
    else:
        archive = tf.Module()
        archive.roots = _roots(_live)
        concretes = {key: endpoint.concrete for key, endpoint in _live.endpoints.items()}
        try:
            tf.saved_model.save(archive, str(saved_model), signatures=concretes)
        except (ValueError, AssertionError, TypeError) as error:
            raise BadInput(
                f"{spec.model}: TensorFlow cannot export it: {' '.join(str(error).split())[:400]}"
            ) from error
    notes = make_portable(saved_model)
    written = meta_graph.signatures(meta_graph.read(saved_model))
    written_for = {key: signature_of(endpoint) for key, endpoint in _live.endpoints.items()}
    # TensorFlow renames what it cannot keep, and only logs it.
    for key, signature in written_for.items():
        if written.get(key) is None or written[key].inputs.keys() != signature.inputs.keys():
            raise BadInput(
                f"{spec.model}: signature {key!r} was exported with inputs {sorted(written[key].inputs)} in place of "
                f"{sorted(signature.inputs)}; rename them so that they are valid identifiers"
            )
    digest = fingerprint.of_saved_model(saved_model, written_for)
    return _source(spec, out_dir, work_dir, version, digest=digest, notes=notes)


def _roots(live: Live) -> list[Any]:
    """What the SavedModel must track so that the endpoints' variables, tables and assets are saved.

    A Keras model itself is not tracked: saving it would trace every layer's own functions too (seconds for a large
    model), which no runtime here uses. Its variables are found through the endpoints; its lookup tables are listed.
    """
    import tensorflow as tf
    from tensorflow.python.ops.lookup_ops import LookupInterface
    from tensorflow.python.trackable.resource import CapturableResource

    if live.kind == "module":
        return [live.model]
    # In the model's own order: that of a function's variables changes from process to process, and with it the export.
    order = {id(variable.handle): index for index, variable in enumerate(live.variables)}
    variables_used = sorted(
        (v for endpoint in live.endpoints.values() for v in endpoint.concrete.variables),
        key=lambda v: (order.get(id(v.handle), len(order)), v.name),
    )
    descendants = tf.train.TrackableView(live.model).descendants()
    tables = [item for item in descendants if isinstance(item, LookupInterface | CapturableResource)]
    return [*{id(item): item for item in [*variables_used, *tables]}.values()]


def _save_keras(live: Live, folder: Path) -> tuple[Path | None, str | None]:
    """The file in `folder` that other targets make the Keras model of; the reason where it cannot be saved.

    It is HDF5 where that holds the model, since it is what two targets are made from, without loading it again.
    """
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
        text = " ".join(str(error).split())
        return None, f"Keras cannot save the model: {type(error).__name__}: {text[:300]}"
    return path, None
