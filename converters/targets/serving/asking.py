"""Every call that a check makes of a ModelServer, each in its share of the time.

Like `client`, it is to be imported in a process of its own.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from converters.contract.errors import Damaged, ServerFailed
from converters.contract.target import Cases
from converters.contract.values import Artifact, Prediction, Signature, Tensors
from converters.processes.timing import predicted
from converters.targets.serving import wire
from converters.targets.serving.client import PREDICT, Client, Servable, servables
from converters.targets.serving.layout import Layout
from converters.targets.serving.running import Running


def predict(
    running: Running, layout: Layout, artifacts: Sequence[Artifact], cases: Cases, deadline: float
) -> list[Prediction]:
    """Predict over gRPC and REST for each signature; classify or regress too where its method name says so.

    Each call has its share of the time that is left, so that one that hangs leaves some to the others.
    Raises ServerFailed, Damaged.
    """
    known = servables(layout.servable)
    with Client(running.grpc, running.rest, layout.model, layout.version) as client:
        running.wait_available(client, deadline)
        since = f"AVAILABLE after {running.seconds():.1f} s" if running.process is not None else "AVAILABLE"
        replayed = running.warmup(layout)
        plans = [Plan.of(artifact, known) for artifact in artifacts]
        left = sum(len(plan.calls) for plan in plans)
        answers = []
        for plan in plans:
            predictions = []
            for how, method in plan.calls:
                now = time.monotonic()
                until = now + max(deadline - now, 0) / left
                predictions.append(plan.ask(running, client, how, method, cases[plan.key], until))
                left -= 1
            detail = "; ".join([f"{running.how}: {since}", replayed, *plan.notes])
            answers.append(Prediction(runtime=running.runtime, ran=detail, also=predictions))
        return answers


@dataclass(frozen=True)
class Plan:
    """How one signature is asked: (grpc or rest, method) of each call, and what cannot be asked."""

    key: str
    signature: Signature
    calls: list[tuple[str, str]]
    notes: list[str]

    @staticmethod
    def of(artifact: Artifact, known: Mapping[str, Servable]) -> "Plan":
        key = artifact.signature or ""
        if key not in known:
            raise Damaged(f"saved_model.pb has no signature {key!r} that can be asked")
        signature, method = known[key]
        unfit = wire.not_in_json(signature)
        calls = [("grpc", "predict")] + ([("rest", "predict")] if unfit is None else [])
        if method != PREDICT:
            calls += [("grpc", method), ("rest", method)]
        notes = [f"not asked over REST, whose JSON has no such type: {unfit}"] if unfit else []
        return Plan(key, signature, calls, notes)

    def ask(
        self, running: Running, client: Client, how: str, method: str, cases: Sequence[Tensors], deadline: float
    ) -> Prediction:
        """What it returns for every case, or the error that ended it."""
        runtime = f"{running.runtime} {how}" + (f" {method}" if method != "predict" else "")

        def call(inputs: Tensors) -> Tensors:
            return client.ask(how, self.key, self.signature, inputs, method, deadline)

        try:
            running.require_alive("before it was asked")
            return predicted(runtime, call, cases)
        except ServerFailed as error:
            return Prediction(runtime=runtime, error=running.blame(error))
