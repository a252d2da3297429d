"""Build the live model, record golden from it, export it as a SavedModel.

`build`, `keep` and `export` are calls on one child process: the live model stays in that process's memory between them
and never leaves it. Everything after works from the `Source` that `export` returns, by path and digest.
"""

import functools
import re
import shutil
import traceback
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from converters.config.spec import ModelSpec
from converters.contract.errors import BadInput, FanoutError
from converters.contract.values import (
    SAVED_MODEL,
    Case,
    Frozen,
    Signature,
    Source,
    SourceKind,
    Tensors,
    TensorSpec,
    Tolerance,
)
from converters.formats import fingerprint, keras_config, precision, variables
from converters.formats import saved_model as meta_graph
from converters.formats.portable import make_portable
from converters.processes import userland
from converters.processes.child import Child, Completed
from converters.reference import choosing, drawing, golden, labelled
from converters.reference import hints as examples
from converters.source import watch
from converters.source.live import Endpoint, Live, bring_up
from converters.targets.registry import TARGETS

GOLDEN = "golden.npz"
REPRESENTATIVE = "representative.npz"

_EXPORTABLE = re.compile(r"[A-Za-z0-9.][A-Za-z0-9_.\\/>-]*")
"""What TensorFlow accepts as the name of a placeholder, and so of a signature's input (ops.py, _VALID_OP_NAME_REGEX)."""

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


class Builder:
    """The child process that holds one live model."""

    def __init__(self, spec: ModelSpec, log: Path | None = None) -> None:
        self.spec = spec
        self._child = Child(limits=spec.limits, log=log)
        self.log = self._child.log

    def build(self, out_dir: Path, work_dir: Path) -> Completed[Built]:
        """Build, initialise, and record golden into `out_dir`. Raises BadInput, ChildFailed."""
        self._child.call(watch.begin)
        return self._child.call(build, self.spec, out_dir, work_dir)

    def keep(self, out_dir: Path, work_dir: Path, version: int) -> Completed[Source | None]:
        """Save the Keras file of what `build` left; see `keep`. Raises ChildFailed."""
        return self._child.call(keep, self.spec, out_dir, work_dir, version)

    def export(self, out_dir: Path, work_dir: Path, version: int) -> Completed[Source]:
        """Export what `build` left. Raises BadInput, ChildFailed."""
        return self._child.call(export, self.spec, out_dir, work_dir, version)

    def reads(self, *products: Path) -> watch.Reads | None:
        """What building and exporting depended on; see `watch.reads`. Raises ChildFailed."""
        return self._child.call(watch.reads, self.spec.base.resolve(), products).value

    def close(self) -> None:
        """End the child, and the live model with it."""
        self._child.close()

    def __enter__(self) -> "Builder":
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


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
        _trace(endpoint)
    signatures = {key: _known(endpoint) for key, endpoint in live.endpoints.items()}
    _require_known(spec.golden, spec.classifiers, signatures)
    data = _given(spec.golden.data, spec, "golden.data", signatures)
    computed_in = _precision(live)
    cases, calibration, covered = {}, {}, {}
    for key, endpoint in live.endpoints.items():
        if key in data:
            where = f"golden.data ({spec.golden.data})"
            inputs = golden.from_data(data[key], key, signatures[key], spec.golden, where)
            cases[key] = [Case(inputs=tensors, outputs=_outputs(endpoint, tensors)) for tensors in inputs]
            covered[key] = live.reach(endpoint, inputs[0])
        else:
            chosen, calibration[key] = _drawn(live, endpoint, spec, computed_in)
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
            return _outputs(live.endpoints[key], inputs, "evaluation outputs")

        labelled.record(spec.evaluation, spec.base, signatures, call, out_dir)
    if spec.representative is not None:
        _save_representative(spec, live, work_dir / REPRESENTATIVE)
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
        signatures={key: _known(endpoint) for key, endpoint in _live.endpoints.items()},
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
    known = {key: _known(endpoint) for key, endpoint in _live.endpoints.items()}
    # TensorFlow renames what it cannot keep, and only logs it.
    for key, signature in known.items():
        if written.get(key) is None or written[key].inputs.keys() != signature.inputs.keys():
            raise BadInput(
                f"{spec.model}: signature {key!r} was exported with inputs {sorted(written[key].inputs)} in place of "
                f"{sorted(signature.inputs)}; rename them so that they are valid identifiers"
            )
    digest = fingerprint.of_saved_model(saved_model, known)
    return _source(spec, out_dir, work_dir, version, digest=digest, notes=notes)


def _trace(endpoint: Endpoint) -> None:
    """Make the endpoint's graph, whose placeholders carry the names the exported signature will have."""
    import tensorflow as tf

    if endpoint.signature is not None:
        return
    names = list(endpoint.inputs)
    for name in names:
        if not _EXPORTABLE.fullmatch(name):
            raise BadInput(
                f"signatures.{endpoint.key}: TensorFlow cannot export an input named {name!r}; use letters, digits, "
                "'_', '.', '-' and '/', starting with a letter or digit"
            )
    specs = [tf.TensorSpec(spec.shape, spec.dtype, name=name) for name, spec in endpoint.inputs.items()]
    try:
        function = tf.function(lambda *tensors: endpoint.call(dict(zip(names, tensors, strict=True))))
        endpoint.concrete = function.get_concrete_function(*specs)
    except FanoutError:
        raise
    except Exception as error:  # tracing runs the model's own code
        text = " ".join(str(error).split())
        raise BadInput(f"signatures.{endpoint.key}: tracing it failed: {type(error).__name__}: {text[:400]}") from error
    endpoint.hints = lambda: examples.of_concrete(endpoint.concrete, endpoint.inputs)
    outputs = endpoint.concrete.structured_outputs
    for name, output in outputs.items():
        if not isinstance(output, tf.Tensor | tf.TensorSpec):
            raise BadInput(
                f"signatures.{endpoint.key}: output {name!r} is {type(output).__name__.removesuffix('Spec')}; "
                "return dense tensors, such as tensor.to_tensor() or tf.sparse.to_dense(tensor)"
            )
    endpoint.signature = Signature(
        inputs=endpoint.inputs,
        outputs={
            name: TensorSpec(shape=None if o.shape.rank is None else tuple(o.shape.as_list()), dtype=o.dtype.name)
            for name, o in sorted(outputs.items())
        },
    )


def _known(endpoint: Endpoint) -> Signature:
    assert endpoint.signature is not None, "every endpoint is traced before it is used"
    return endpoint.signature


def _precision(live: Live) -> str:
    """The narrowest dtype that any of the signatures computes in."""
    if live.kind == "saved_model":
        return precision.of_graph(meta_graph.read(Path(live.model)).graph_def)
    graphs = (endpoint.concrete.graph.as_graph_def() for endpoint in live.endpoints.values())
    return functools.reduce(precision.narrower, map(precision.of_graph, graphs))


def _drawn(live: Live, endpoint: Endpoint, spec: ModelSpec, computed_in: str) -> tuple[choosing.Choice, list[Tensors]]:
    """Golden, and inputs to calibrate on, of one signature whose data nobody gave."""
    signature, hints = _known(endpoint), endpoint.hints()
    chosen = choosing.choose(
        signature,
        spec.golden,
        lambda tensors: _outputs(endpoint, tensors),
        widest(spec, computed_in),
        hints,
        lambda tensors: live.reach(endpoint, tensors),
    )
    inputs = [case.inputs for case in chosen.cases]
    return chosen, drawing.draw_calibration(signature, spec.golden, hints, chosen.plan, inputs)


def widest(spec: ModelSpec, computed_in: str = "float32") -> Tolerance:
    """The widest tolerance that golden is compared with: outputs that differ enough for it do for every target."""
    found = [
        options.tolerance.get(variant) or precision.allowing(TARGETS[name].TOLERANCES[variant], computed_in)
        for name, options in spec.targets.items()
        for variant in options.variants
    ]
    return Tolerance(
        error=max((tolerance.error for tolerance in found), default=0.0),
        mismatch=max((tolerance.mismatch for tolerance in found), default=0.0),
    )


def _outputs(endpoint: Endpoint, inputs: Tensors, what: str = "golden outputs") -> Tensors:
    """What the live model returns. Fails as bad input: the inputs come from the config, or need one."""
    import tensorflow as tf

    try:
        tensors = {name: tf.constant(value, endpoint.inputs[name].dtype) for name, value in inputs.items()}
        return {name: np.asarray(value) for name, value in endpoint.call(tensors).items()}
    except Exception as error:  # the model's own code runs here
        text = " ".join(str(error).split())
        shapes = {name: list(value.shape) for name, value in inputs.items()}
        raise BadInput(
            f"signatures.{endpoint.key}: the live model cannot compute {what} for inputs of shape {shapes}: "
            f"{type(error).__name__}: {text[:400]}"
        ) from error


def _require_known(
    golden_spec: drawing.GoldenSpec, classifiers: Sequence[str], signatures: Mapping[str, Signature]
) -> None:
    """Refuse a field about a tensor that the model has not."""
    for field, named, side in (
        ("golden.inputs", golden_spec.inputs, "inputs"),
        ("golden.constant", golden_spec.constant, "outputs"),
        ("classifiers", classifiers, "outputs"),
    ):
        known = sorted({name for signature in signatures.values() for name in getattr(signature, side)})
        for name in named:
            if name not in known:
                raise BadInput(f"{field}: the model has no {side[:-1]} {name!r}; it has {', '.join(known)}")


def _given(
    reference: str | None, spec: ModelSpec, field: str, signatures: Mapping[str, Signature]
) -> dict[str, Mapping[str, Any]]:
    """The user's data by signature, made of `{key: {input: array}}`, or of `{input: array}` for all of them."""
    if reference is None:
        return {}
    data = userland.call(reference, spec.base, field)
    if not isinstance(data, Mapping):
        raise BadInput(f"{field} ({reference}) returned {type(data).__name__}; return {{input name: array}}")
    if any(isinstance(value, Mapping) for value in data.values()):
        chosen = {key: data[key] for key in signatures if isinstance(data.get(key), Mapping)}
    else:
        chosen = {key: data for key, signature in signatures.items() if set(signature.inputs) & set(data)}
    if not chosen:
        names = {key: sorted(signature.inputs) for key, signature in signatures.items()}
        raise BadInput(f"{field} ({reference}) gives {sorted(data)}, but the inputs by signature are {names}")
    return chosen


def _save_representative(spec: ModelSpec, live: Live, path: Path) -> None:
    signatures = {key: _known(endpoint) for key, endpoint in live.endpoints.items()}
    everything = spec.golden.model_copy(update={"samples": 1 << 30})
    where = f"representative ({spec.representative})"
    chosen = {}
    for key, given in _given(spec.representative, spec, "representative", signatures).items():
        calls = golden.from_data(given, key, signatures[key], everything, where)
        chosen[key] = calls[:1] if signatures[key].dynamic_batch else calls  # the first holds all samples, or one
    golden.save_inputs(chosen, path)


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


def built_with(spec: ModelSpec, out_dir: Path, work_dir: Path, version: int = 1) -> Source:
    """Build and export in one go, in a child of their own. Raises BadInput, ChildFailed."""
    with Builder(spec) as builder:
        builder.build(out_dir, work_dir)
        return builder.export(out_dir, work_dir, version).value


__all__ = ["Builder", "Built", "build", "built_with", "export", "keep"]
