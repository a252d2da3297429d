"""What callers rely on: signatures of a new release against those of the current one."""

import pytest

from converters.contract.values import Signature, TensorSpec
from converters.release.comparison import Comparison
from converters.release.contracts import judged
from converters.release.manifest import Manifest, SourceRecord


def signature(shape: "tuple[int | None, ...] | None" = (None, 3), dtype: str = "float32", name: str = "y") -> Signature:
    return Signature(
        inputs={"x": TensorSpec(shape=(None, 4), dtype="float32")}, outputs={name: TensorSpec(shape=shape, dtype=dtype)}
    )


BEFORE = {"serving_default": signature()}


def compared(now: dict[str, Signature], *, accepted: bool = False) -> Comparison:
    source = SourceRecord(kind="module", digest="sha256:12", signatures=BEFORE)
    told = {"model": "m", "version": 3, "status": "passed", "created": "2026-11-22T02:00:07Z", "seconds": 1.0}
    current = Manifest.model_validate({**told, "source": source, "environment": {}, "targets": []})
    return judged(Comparison(version=3), current, now, accepted=accepted)


@pytest.mark.parametrize(
    ("now", "said"),
    [
        ({"serving_default": signature((None, 5))}, "output 'y' was float32 [?, 3] and is float32 [?, 5]"),
        ({"serving_default": signature((1, 3))}, "output 'y' was float32 [?, 3] and is float32 [1, 3]"),
        ({"serving_default": signature(None)}, "output 'y' was float32 [?, 3] and is float32 of unknown rank"),
        ({"serving_default": signature(dtype="int64")}, "output 'y' was float32 [?, 3] and is int64 [?, 3]"),
        (
            {"serving_default": signature(name="z")},
            "output 'y' is gone (serving_default); output 'z', float32 [?, 3], is new",
        ),
        ({"score": signature()}, "signature 'serving_default' is gone; signature 'score' is new"),
    ],
)
def test_judged_refuses_what_callers_would_break_on_unless_it_is_accepted(now: dict[str, Signature], said: str) -> None:
    comparison = compared(now)
    assert comparison.contract == "changed"
    (refusal,) = comparison.refusals()
    assert said in refusal
    assert "--accept-contract-change" in refusal
    accepted = compared(now, accepted=True)
    assert (accepted.contract, accepted.contract_changes) == ("changed", comparison.contract_changes)
    assert accepted.refusals() == []


def test_judged_says_nothing_when_the_signatures_are_the_same() -> None:
    assert compared(BEFORE) == Comparison(version=3)
