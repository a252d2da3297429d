"""Building the live model, and recording golden from it, before anything is exported."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from converters.config.spec import ModelSpec
from converters.contract.layout import GOLDEN, REPRESENTATIVE, SAVED_MODEL
from converters.contract.settings import Tolerance
from converters.contract.values import Case, Data, Frozen, Signature, Source, SourceKind, Tensors
from converters.formats import precision, variables
from converters.reference import golden, labelled
from converters.reference.coverage import Coverage
from converters.source import export
from converters.source.bring_up import bring_up
from converters.source.costs import Costs
from converters.source.data.given import Given, given, labelled_data
from converters.source.data.ranges import expected
from converters.source.inputs import require_known, require_plain, widest
from converters.source.live import Live
from converters.source.making import make
from converters.source.repeating import require_repeatable
from converters.source.watch import Reads, Watcher


class Built(Frozen):
    """What `build` found out about the live model."""

    kind: SourceKind
    parameters: int
    signatures: dict[str, Signature]
    drawn_for: Tolerance | None
    """What golden's inputs were chosen to tell apart; None where all were given."""
    said: tuple[str, ...] = ()
    """What was assumed of the data that are given, a sentence each."""


def traced(spec: ModelSpec) -> Live:
    """The live model, its signatures known. Raises what `bring_up` raises, and BadInput where they are none to deploy."""
    live = bring_up(spec)
    for endpoint in live.endpoints.values():
        endpoint.trace()
    require_plain(spec.model, live)
    return live


class Session:
    """One live model, from its building to its export: held by a child process, whose memory it never leaves.

    Everything after works from the `Source` that `export` returns, by path and digest.

    Args:
        out_dir: what is part of the release is written here.
        work_dir: what other targets are made from, beside the SavedModel.
        version: the release's.
    """

    def __init__(self, spec: ModelSpec, out_dir: Path, work_dir: Path, version: int) -> None:
        self.spec, self.out_dir, self.work_dir, self.version = spec, out_dir, work_dir, version
        self.live: Live  # once it is built
        self._watcher = Watcher()
        self._folders: list[Path] = []

    def build(self) -> Built:
        """Make the live model and record golden: inputs, and what it returns for them.

        Writes `out_dir/golden.npz`, what `labelled.record` does and, for int8 calibration,
        `work_dir/representative.npz`, unless golden's inputs are given and no others, nor more of them.

        Raises:
            BadInput: the model or its data cannot be made, or none of its signatures returns the same again;
                BuilderFailed where the user's code raised.
        """
        import tensorflow as tf

        spec = self.spec
        tf.keras.utils.set_random_seed(spec.golden.seed)
        self.live = live = traced(spec)
        require_known(spec, live.signatures)
        data = given(spec, live)
        said, self._folders = list(data.said), [*data.folders]
        drawn_too = self._record_golden(data)
        if calibration := {**drawn_too, **data.calibration}:
            golden.save_inputs(calibration, self.work_dir / REPRESENTATIVE)
        if spec.evaluation is not None:
            labels, read = labelled_data(spec.evaluation, spec.base, live.signatures, partial(expected, live))
            labelled.record(spec.evaluation, spec.base, live.signatures, self._evaluate, self.out_dir, labels)
            said, self._folders = [*dict.fromkeys([*said, *read.said])], [*self._folders, *read.folders]
        for sentence in said:
            print(sentence)
        return Built(
            kind=live.kind,
            parameters=sum(int(value.size) for value in live.weights().values()),
            signatures=live.signatures,
            drawn_for=widest(spec) if drawn_too else None,
            said=tuple(said),
        )

    def export(self) -> Source:
        """Write `out_dir/saved_model` and, of a Keras model, its file in `work_dir`. Raises BadInput."""
        live, saved_model = self.live, self.out_dir / SAVED_MODEL
        digest, notes = export.export(live, saved_model, self.spec.model, self.spec.tags)
        keras_file, keras_problem = export.save_keras(live, self.work_dir)
        representative = self.work_dir / REPRESENTATIVE
        return Source(
            model=self.spec.name,
            version=self.version,
            kind=live.kind,
            digest=digest,
            signatures=live.signatures,
            saved_model=saved_model,
            golden=self.out_dir / GOLDEN,
            keras_file=keras_file,
            keras_problem=keras_problem,
            keras_signature=live.keras_signature,
            builder=live.builder,
            representative=representative if representative.is_file() else None,
            refused=live.refused,
            notes=tuple(notes),
            description=self.spec.description,
            labels=self.spec.labels,
            preprocessing=self.spec.preprocessing,
        )

    def reads(self, products: Sequence[Path]) -> Reads | None:
        """What building and exporting depended on; see `Watcher.reads`."""
        return self._watcher.reads(self.spec.base.resolve(), products, self._folders)

    def _record_golden(self, data: Given) -> dict[str, list[Tensors]]:
        """Write golden. Inputs to calibrate on are returned, of each signature whose data nobody gave."""
        spec, live = self.spec, self.live
        computed_in = precision.of_graphs(live.graphs())
        cases: dict[str, list[Case]] = {}
        calibration: dict[str, list[Tensors]] = {}
        covered: dict[str, Coverage] = {}
        works: dict[str, list[int]] = {}
        costs = Costs(live)
        kinds: dict[str, Data] = {}
        for key, endpoint in live.endpoints.items():
            if key in data.golden:
                inputs = data.golden[key]
                cases[key] = [Case(inputs=tensors, outputs=endpoint.answer(tensors)) for tensors in inputs]
                covered[key] = live.reach(endpoint, inputs[0])
                kinds[key] = "given"
            else:
                made = make(live, endpoint, spec, computed_in, costs)
                cases[key], calibration[key], kinds[key] = made.cases, made.calibration, made.data
                covered[key] = made.coverage or live.reach(endpoint, made.cases[0].inputs)
            works[key] = costs.of_calls(endpoint, [case.inputs for case in cases[key]])
        apart = {
            key: golden.answers_apart(recorded[0], live.endpoints[key].signature, live.endpoints[key].answer)
            for key, recorded in cases.items()
        }
        for key in require_repeatable(live, cases, computed_in, spec.model):
            del cases[key], covered[key], kinds[key], works[key], apart[key]
            calibration.pop(key, None)
        described = variables.describe(live.weights())
        recorded = golden.Golden(
            cases=cases,
            variables=described,
            coverage=covered,
            precision=computed_in,
            data=kinds,
            works=works,
            apart=apart,
        )
        golden.save(recorded, self.out_dir / GOLDEN)
        return calibration

    def _evaluate(self, key: str, inputs: Tensors) -> Tensors:
        return self.live.endpoints[key].answer(inputs, "evaluation outputs")
