"""Further calls: what the graph cares about is among golden's inputs, as far as the model computes it."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest

from converters.contract.errors import BadInput
from converters.contract.settings import GoldenSpec, InputRange, Tolerance
from converters.contract.values import Case, Signature, Tensors, TensorSpec
from converters.reference import coverage, drawing, edges, variation
from converters.reference.drawing import Hint, Plan, Special
from converters.reference.edges import Edge

Shape = tuple[int | None, ...]


def of_x(
    shape: Shape,
    dtype: str = "float32",
    special: Special | None = None,
    *,
    how: InputRange | None = None,
    plan: Plan | None = None,
    run: Callable[[Tensors], Tensors] = lambda tensors: {"y": np.float32([1.0])},
    hint: Mapping[str, Any] | None = None,
) -> list[Edge]:
    """The further calls of a model of one input x."""
    signature = Signature(inputs={"x": TensorSpec(shape=shape, dtype=dtype)}, outputs={"y": FLOAT})
    spec = GoldenSpec(inputs={"x": how} if how else {})
    hints = {"x": Hint(special=special or Special(), **(hint or {}))}
    plan = plan or Plan()
    drawn = drawing.draw(signature, spec, hints, plan)
    cases = [Case(inputs=call, outputs={"y": np.float32([1.0])}) for call in drawn]
    return edges.added(signature, spec, hints, plan, cases, run)


FLOAT = TensorSpec(shape=None, dtype="float32")


def elements(found: list[Edge]) -> set[Any]:
    """All that x is in them."""
    return {item for edge in found for item in edge.case.inputs["x"].ravel().tolist()}


def test_added_is_nothing_when_nothing_is_known() -> None:
    assert of_x((None, 4)) == []
    assert of_x((3,), "int32") == []


@pytest.mark.parametrize(
    ("shape", "dtype", "padding"),
    [((None, 20), "int32", 0), ((None, 20, 3), "float32", -10), ((1, 20, 3), "float32", 7)],
)
def test_added_pads_samples_to_several_lengths_when_the_graph_looks_for_a_constant(
    shape: Shape, dtype: str, padding: int
) -> None:
    found = of_x(shape, dtype, Special(equal=(padding,)))
    calls = [edge.case.inputs["x"] for edge in found]
    samples = [sample for call in calls for sample in (call if shape[0] is None else [call[0]])]
    rows = [(sample == padding).reshape(20, -1).all(axis=1) for sample in samples]
    assert any(row[1:].all() and not row[0] for row in rows)
    assert any(row[:10].all() and not row[10:].all() for row in rows)
    assert any(row.all() for row in rows)
    assert any(row[-6:].all() and not row[:-6].all() for row in rows)
    assert all(edge.calibrates for edge in found)


def test_added_leaves_whole_rows_of_padding_out_when_the_model_has_no_answer_for_them() -> None:
    def mean(tensors: Tensors) -> Tensors:
        words = tensors["x"] != 0
        with np.errstate(invalid="ignore"):
            return {"y": (tensors["x"].sum(axis=1) / words.sum(axis=1) / 100).astype(np.float32)}

    found = of_x((None, 20), "int32", Special(equal=(0,)), run=mean)
    lengths = [(sample != 0).sum() for edge in found for sample in edge.case.inputs["x"]]
    assert len(lengths) >= 4
    assert min(lengths) >= 1


def test_added_leaves_a_change_out_when_the_model_does_not_compute_it() -> None:
    def refuse(tensors: Tensors) -> Tensors:
        raise BadInput("no")

    assert of_x((None, 20), "int32", Special(equal=(0,)), run=refuse) == []


def test_added_leaves_a_change_out_when_its_outputs_would_hide_errors_of_the_others() -> None:
    def same(tensors: Tensors) -> Tensors:
        return {"y": tensors["x"].astype(np.float32)}

    assert of_x((3,), "int64", Special(large=True), run=same) == []
    (edge,) = of_x((None, 8), "int64", Special(large=True), run=same)
    assert edge.case.outputs["y"].max() > 1e9  # measured by itself, being of another batch size


@pytest.mark.parametrize(
    ("dtype", "most"), [("int64", 2**31), ("int32", 2**24), ("uint32", 2**24), ("uint64", 2**31)], ids=str
)
def test_added_goes_beyond_what_narrower_types_hold_when_integers_are_only_calculated_with(
    dtype: str, most: int
) -> None:
    (edge,) = of_x((None, 8), dtype, Special(large=True))
    assert max(elements([edge])) > most
    assert not edge.calibrates


def test_added_keeps_to_the_range_when_there_is_one() -> None:
    special = Special(large=True, equal=(-1, 500), around=(50,))
    assert max(elements(of_x((None, 8), "int64", special, how=InputRange(low=0, high=60)))) < 60
    assert max(elements(of_x((None, 8), "int64", Special(equal=(-1, 9)), hint={"high": 9}))) == 8
    assert of_x((None, 8), "int64", special, how=InputRange(values=(3, 4))) == []


@pytest.mark.parametrize(("dtype", "near"), [("int32", {4, 5, 6}), ("float32", {4.995, 5, 5.005})])
def test_added_is_at_a_threshold_and_beside_it(dtype: str, near: set[float]) -> None:
    found = elements(of_x((None, 30), dtype, Special(around=(5,))))
    assert all(any(abs(value - item) < 1e-6 for item in found) for value in near)


def test_added_has_missing_numbers_when_the_graph_looks_for_them() -> None:
    def finite_only(tensors: Tensors) -> Tensors:
        return {"y": tensors["x"].sum(axis=1)}

    (edge,) = of_x((None, 9), special=Special(missing=True), run=finite_only)
    some, nothing = np.isnan(edge.case.inputs["x"])
    assert some.any()
    assert not some.all()
    assert nothing.all()
    assert np.isnan(edge.case.outputs["y"]).all()
    assert not edge.calibrates


@pytest.mark.parametrize(
    ("dtype", "how", "plan", "ends"),
    [
        ("float32", None, Plan(numbers="pixels"), [0, 255]),
        ("float32", None, Plan(numbers="unit"), [0, 1]),
        ("float32", InputRange(low=-1, high=1), Plan(), [-1, 1]),
        ("uint8", None, Plan(), [0, 255]),
        ("int32", InputRange(low=2, high=5), Plan(), [2, 4]),
        ("bool", None, Plan(), [0, 1]),
    ],
)
def test_added_has_both_ends_when_a_range_is_known(
    dtype: str, how: InputRange | None, plan: Plan, ends: list[int]
) -> None:
    (edge,) = of_x((None, 4, 4, 3), dtype, how=how, plan=plan)
    low, high, both = edge.case.inputs["x"]
    assert [set(low.ravel().tolist()), set(high.ravel().tolist())] == [{ends[0]}, {ends[1]}]
    assert set(both.ravel().tolist()) == set(ends)


@pytest.mark.parametrize("shape", [(None,), (None, 2), ()])
def test_added_has_odd_strings(shape: Shape) -> None:
    found = elements(of_x(shape, "string"))
    assert b"" in found
    assert max(map(len, found)) > 200
    assert any(not item.isascii() for item in found)
    assert all(isinstance(item, bytes) for item in found)


def test_added_has_ties_when_the_graph_sorts() -> None:
    (edge,) = of_x((None, 7), special=Special(ranked=True))
    for sample in edge.case.inputs["x"]:
        assert sample[0] == sample[1] != sample[2] == sample[3]


def test_draw_lays_boxes_on_each_other_when_they_are_to_be_suppressed() -> None:
    signature = Signature(inputs={"x": TensorSpec(shape=(50, 4), dtype="float32")}, outputs={"y": FLOAT})
    hints = {"x": Hint(special=Special(boxes=True))}
    for how in (InputRange(), InputRange(low=10, high=20)):
        for call in drawing.draw(signature, GoldenSpec(inputs={"x": how}), hints, Plan()):
            boxes = call["x"]
            assert (boxes[:, :2] < boxes[:, 2:]).all()
            assert boxes.min() >= (how.low or 0)
            assert boxes.max() <= (how.high or 1)
            near = np.abs(boxes[:, None] - boxes[None]).max(axis=2) < 0.03 * ((how.high or 1) - (how.low or 0))
            assert near.sum() > 3 * len(boxes)


def sizes(found: list[Edge]) -> list[tuple[int, ...]]:
    return [edge.case.inputs["x"].shape for edge in found]


def test_added_has_other_sizes_when_dimensions_are_dynamic() -> None:
    larger, smaller = sizes(of_x((None, None, None, 3)))
    assert larger[0] == smaller[0] == 2
    assert min(larger[1:3]) > 8 > max(smaller[1:3])
    assert len(set(larger[1:3])) == 2
    assert sizes(of_x((1, None))) == [(1, 48), (1, 6)]


def test_added_tries_rounder_sizes_when_odd_ones_are_refused() -> None:
    def of_eights(tensors: Tensors) -> Tensors:
        if any(size % 8 for size in tensors["x"].shape[1:3]):
            raise BadInput("odd")
        return {"y": np.float32([1.0])}

    assert sizes(of_x((None, None, None, 3), run=of_eights)) == [(2, 32, 40, 3)]


def test_added_has_no_other_sizes_when_the_config_gives_the_shape() -> None:
    assert of_x((None, None, 3), how=InputRange(shape=(5, 3))) == []


def test_check_variation_fails_when_outputs_differ_by_their_size_alone() -> None:
    signature = Signature(
        inputs={"x": TensorSpec(shape=(None, None), dtype="float32")},
        outputs={"y": TensorSpec(shape=(None, None), dtype="float32")},
    )
    cases = [
        Case(inputs={"x": np.ones(shape, np.float32)}, outputs={"y": np.ones(shape, np.float32)})
        for shape in ((4, 8), (1, 8), (2, 30))
    ]
    assert len(coverage.samples_of(cases, signature, "y")) == 5
    assert variation.check(cases, signature, Tolerance(error=1e-4)).status == "failed"
