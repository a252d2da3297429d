"""Golden data: what is written is read back to the bit, and what is drawn or given fits its signature."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from converters.contract.errors import BadInput, Damaged
from converters.contract.settings import GoldenSpec, InputRange, Tolerance
from converters.contract.values import Case, Signature, Tensors, TensorSpec
from converters.formats import variables
from converters.reference import choosing, drawing, golden
from converters.reference.drawing import Hint, Plan
from converters.reference.golden import Golden

NUMERIC = (
    *("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
    *("float16", "float32", "float64", "complex64", "complex128"),
)
SHAPES = arrays.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3)


def texts(*items: bytes) -> np.ndarray[Any, Any]:
    array = np.empty(len(items), dtype=object)
    array[:] = items
    return array


@st.composite
def tensors(draw: Callable[[Any], Any]) -> np.ndarray[Any, Any]:
    """An array of any dtype and shape a signature may have, strings among them."""
    shape = draw(SHAPES)
    if draw(st.booleans()):
        return np.asarray(draw(arrays.arrays(draw(st.sampled_from(NUMERIC)), shape)))
    size = int(np.prod(shape))
    return texts(*draw(st.lists(st.binary(max_size=6), min_size=size, max_size=size))).reshape(shape)


def assert_same(got: np.ndarray[Any, Any], wanted: np.ndarray[Any, Any]) -> None:
    """The same dtype, shape and bits."""
    assert (got.dtype, got.shape) == (wanted.dtype, wanted.shape)
    assert got.tolist() == wanted.tolist() if got.dtype == object else got.tobytes() == wanted.tobytes()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=40)
@given(
    inputs=st.dictionaries(st.sampled_from(["x", "a b", "deep/name", "é", "0/inputs/x"]), tensors(), max_size=2),
    outputs=st.dictionaries(st.sampled_from(["y", "output_0"]), tensors(), min_size=1),
    calls=st.integers(1, 3),
    key=st.sampled_from(["serving_default", "a/b", "call 2"]),
    lines=st.lists(st.text(st.characters(categories=["L", "N"]), min_size=1), max_size=2).map(tuple),
)
def test_load_gives_back_every_bit_when_save_wrote_it(
    tmp_path: Path, inputs: Any, outputs: Any, calls: int, key: str, lines: tuple[str, ...]
) -> None:
    case = Case(inputs=inputs, outputs=outputs)
    path = tmp_path / "golden.npz"
    golden.save(Golden(cases={key: [case] * calls, "other": [case]}, variables=lines), path)
    loaded = golden.load(path)
    assert loaded.variables == lines
    assert {name: len(cases) for name, cases in loaded.cases.items()} == {key: calls, "other": 1}
    for found in loaded.cases[key]:
        assert found.inputs.keys() == inputs.keys()
        assert found.outputs.keys() == outputs.keys()
        for name, value in (*inputs.items(), *outputs.items()):
            assert_same({**found.inputs, **found.outputs}[name], value)


@pytest.mark.parametrize(
    "value",
    [
        texts(b"", b"\0", b"a\0\0", b"\x01", b"\x01\0", b"\xff" * 40),
        texts(),
        np.empty((0, 3), object),
        np.zeros((2, 0), np.float32),
        np.float32([np.nan, -0.0, np.inf]),
        np.array([1, 2.5, np.nan], ml_dtypes.bfloat16),
        np.array(3.0),
        np.asfortranarray(np.arange(6, dtype=np.int16).reshape(2, 3)),
    ],
    ids=["zeros", "no-strings", "no-rows", "no-columns", "odd", "bfloat16", "scalar", "fortran"],
)
def test_load_gives_back_the_array_when_it_is_unusual(tmp_path: Path, value: np.ndarray[Any, Any]) -> None:
    path = tmp_path / "golden.npz"
    golden.save(Golden(cases={"k": [Case(inputs={"x": value}, outputs={"y": value})]}), path)
    (case,) = golden.load(path).cases["k"]
    assert_same(case.inputs["x"], np.asarray(value))
    assert_same(case.outputs["y"], np.asarray(value))


def test_load_keeps_the_order_of_calls_when_there_are_more_than_ten(tmp_path: Path) -> None:
    cases = [Case(inputs={}, outputs={"y": np.array(i)}) for i in range(25)]
    golden.save(Golden(cases={"k": cases}), tmp_path / "g.npz")
    assert [int(case.outputs["y"]) for case in golden.load(tmp_path / "g.npz").cases["k"]] == list(range(25))


def test_save_inputs_writes_what_load_reads(tmp_path: Path) -> None:
    golden.save_inputs({"k": [{"x": np.float32([1, 2])}, {"x": np.float32([3, 4])}]}, tmp_path / "r.npz")
    case, _ = golden.load(tmp_path / "r.npz").cases["k"]
    assert_same(case.inputs["x"], np.float32([1, 2]))
    assert case.outputs == {}


@pytest.fixture
def written(tmp_path: Path) -> Path:
    """A sound file of three kilobytes."""
    path = tmp_path / "golden.npz"
    value = np.random.default_rng(0).normal(size=256)
    golden.save(Golden(cases={"k": [Case(inputs={"x": value}, outputs={"y": value})]}, variables=("a", "b")), path)
    return path


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.9, 0.999])
def test_load_raises_damaged_when_the_file_is_truncated(written: Path, share: float) -> None:
    os.truncate(written, int(written.stat().st_size * share))
    with pytest.raises(Damaged, match=r"golden\.npz: golden data cannot be read"):
        golden.load(written)


def test_load_raises_damaged_when_a_byte_of_an_array_is_flipped(written: Path) -> None:
    content = bytearray(written.read_bytes())
    content[len(content) // 3] ^= 0x10
    written.write_bytes(content)
    with pytest.raises(Damaged, match="cannot be read"):
        golden.load(written)


def test_load_raises_damaged_when_the_file_is_missing(tmp_path: Path) -> None:
    with pytest.raises(Damaged, match=r"absent\.npz"):
        golden.load(tmp_path / "absent.npz")


@pytest.mark.parametrize(
    "array", [np.array([{"a": 1}], dtype=object), np.array([b"text"])], ids=["pickle", "foreign-name"]
)
def test_load_raises_damaged_when_the_arrays_are_not_goldens(tmp_path: Path, array: np.ndarray[Any, Any]) -> None:
    path = tmp_path / "other.npz"
    np.savez(path, **{"k/0/inputs/x" if array.dtype == object else "weights": array})
    with pytest.raises(Damaged, match=r"other\.npz"):
        golden.load(path)


def test_load_raises_damaged_when_the_file_is_a_single_array(tmp_path: Path) -> None:
    path = tmp_path / "single.npz"
    with path.open("wb") as file:
        np.save(file, np.zeros(3))
    with pytest.raises(Damaged, match=r"single\.npz"):
        golden.load(path)


def signature(**inputs: tuple[tuple[int | None, ...] | None, str]) -> Signature:
    """A signature of inputs: name = (shape, dtype)."""
    return Signature(
        inputs={name: TensorSpec(shape=shape, dtype=dtype) for name, (shape, dtype) in inputs.items()}, outputs={}
    )


EVERYTHING = signature(**{name: ((None, 3), name) for name in (*NUMERIC, "bfloat16", "string")})


def test_draw_gives_the_same_when_the_seed_is_the_same() -> None:
    first, again = (drawing.draw(EVERYTHING, GoldenSpec(seed=5)) for _ in range(2))
    other = drawing.draw(EVERYTHING, GoldenSpec(seed=6))
    for one, two in zip(first, again, strict=True):
        assert one.keys() == two.keys() == EVERYTHING.inputs.keys()
        for name in one:
            assert_same(one[name], two[name])
    assert first[0]["float32"].tobytes() != other[0]["float32"].tobytes()
    assert first[0]["string"].tolist() != other[0]["string"].tolist()


def test_draw_gives_two_batch_sizes_when_the_batch_is_dynamic() -> None:
    calls = drawing.draw(EVERYTHING, GoldenSpec(samples=7))
    assert [{value.shape for value in call.values()} for call in calls] == [{(7, 3)}, {(1, 3)}]
    for name, value in calls[0].items():
        assert value.dtype.name == ("object" if name == "string" else name)
    assert all(isinstance(item, bytes) for item in calls[0]["string"].ravel())


def test_draw_gives_calls_that_differ_when_the_batch_is_static() -> None:
    calls = drawing.draw(signature(x=((2, 3), "float32"), n=((), "int64")), GoldenSpec())
    assert [call["x"].shape for call in calls] == [(2, 3)] * 4
    assert [call["n"].shape for call in calls] == [()] * 4
    assert all(isinstance(call["n"], np.ndarray) for call in calls)
    assert len({call["x"].tobytes() for call in calls}) == 4


@pytest.mark.parametrize(
    ("shape", "how", "drawn"),
    [
        ((None, None, 4), InputRange(), (16, 8, 4)),
        ((None, None, 4), InputRange(shape=(5, 4)), (16, 5, 4)),
        (None, InputRange(shape=(5, 4)), (5, 4)),
        ((3, None), InputRange(), (3, 8)),
        ((3, None), InputRange(shape=(3, 2)), (3, 2)),
    ],
)
def test_draw_fits_the_shape_when_dimensions_are_dynamic(
    shape: tuple[int | None, ...] | None, how: InputRange, drawn: tuple[int, ...]
) -> None:
    calls = drawing.draw(signature(x=(shape, "float32")), GoldenSpec(inputs={"x": how}))
    assert calls[0]["x"].shape == drawn


@given(
    low=st.integers(-50, 50), width=st.integers(1, 100), dtype=st.sampled_from(["float32", "float64", "int32", "int64"])
)
def test_draw_stays_in_range_when_one_is_given(low: int, width: int, dtype: str) -> None:
    how = GoldenSpec(inputs={"x": InputRange(low=low, high=low + width)})
    for call in drawing.draw(signature(x=((None, 20), dtype)), how):
        assert call["x"].min() >= low
        assert call["x"].max() < low + width or dtype == "float32"
        assert call["x"].dtype == dtype


@pytest.mark.parametrize("dtype", ["float32", "int32"])
@pytest.mark.parametrize(
    ("how", "low", "high"),
    [
        (InputRange(low=40), 40, 50),
        (InputRange(low=-40), -40, -30),
        (InputRange(high=-20), -30, -20),
        (InputRange(high=30), 0, 30),
    ],
)
def test_draw_stays_on_one_side_when_only_one_bound_is_given(
    how: InputRange, low: float, high: float, dtype: str
) -> None:
    (many, _) = drawing.draw(signature(x=((None, 20), dtype)), GoldenSpec(inputs={"x": how}))
    assert low <= many["x"].min() < many["x"].max() <= high


@pytest.mark.parametrize(
    ("dtype", "values", "known"),
    [
        ("string", ("red", "blue"), {b"red", b"blue"}),
        ("int64", (3, 5), {3, 5}),
        ("float32", (0.25, 4), {0.25, 4.0}),
        ("bool", (1,), {True}),
    ],
)
def test_draw_uses_the_values_when_they_are_given(dtype: str, values: tuple[Any, ...], known: set[Any]) -> None:
    spec = GoldenSpec(samples=40, inputs={"x": InputRange(values=values)})
    call = drawing.draw(signature(x=((None, 2), dtype)), spec)[0]
    assert set(call["x"].ravel().tolist()) == known
    assert call["x"].shape == (40, 2)
    assert call["x"].dtype == (object if dtype == "string" else dtype)


NARROW = Tolerance(error=1e-4)


def outputs_named_y(function: Callable[[Any], Any]) -> Callable[[Tensors], Tensors]:
    """A model of one output, y, of one input, x."""
    return lambda tensors: {"y": np.asarray(function(tensors["x"]))}


def unary(shape: tuple[int | None, ...] | None, dtype: str = "float32") -> Signature:
    """x of that shape and dtype -> y, a float."""
    spec = TensorSpec(shape=shape, dtype=dtype)
    return Signature(inputs={"x": spec}, outputs={"y": TensorSpec(shape=None, dtype="float32")})


def refusing(accepts: Callable[[Any], bool]) -> Callable[[Tensors], Tensors]:
    """A model that raises for inputs it does not accept."""

    def run(tensors: Tensors) -> Tensors:
        if not accepts(tensors["x"]):
            raise BadInput("no such shape")
        return {"y": tensors["x"].astype(np.float32)}

    return run


def test_choose_keeps_the_first_draw_when_it_is_good() -> None:
    chosen = choosing.choose(unary((None, 3)), GoldenSpec(seed=3), outputs_named_y(np.tanh), NARROW)
    cases, plan = chosen.cases, chosen.plan
    assert plan == Plan()
    for case, drawn in zip(cases, drawing.draw(unary((None, 3)), GoldenSpec(seed=3)), strict=True):
        assert_same(case.inputs["x"], drawn["x"])
        assert_same(case.outputs["y"], np.tanh(drawn["x"]))


@pytest.mark.parametrize(
    ("function", "numbers"),
    [
        (lambda x: np.maximum(x - 4, 0) + 1, "wide"),
        (lambda x: np.where((x >= 0) & (x < 1), x, np.nan), "unit"),
        (lambda x: np.where(x > 200, x, 200), "pixels"),
    ],
    ids=["far", "not-finite", "bright"],
)
def test_choose_takes_another_range_when_outputs_are_alike_or_not_finite(
    function: Callable[[Any], Any], numbers: str
) -> None:
    chosen = [choosing.choose(unary((None, 3)), GoldenSpec(), outputs_named_y(function), NARROW) for _ in range(2)]
    assert [choice.plan.numbers for choice in chosen] == [numbers] * 2
    first, again = (choice.cases for choice in chosen)
    assert_same(first[0].inputs["x"], again[0].inputs["x"])
    assert all(np.isfinite(case.outputs["y"]).all() for case in first)


def test_choose_takes_the_first_draw_when_none_is_better() -> None:
    chosen = choosing.choose(unary((None, 3)), GoldenSpec(), outputs_named_y(np.ones_like), NARROW)
    assert chosen.plan == Plan()
    assert len(chosen.cases) == 2


def test_choose_stays_in_range_when_the_config_gives_one() -> None:
    spec = GoldenSpec(inputs={"x": InputRange(low=2, high=3)})
    seen: list[Any] = []
    choosing.choose(unary((None, 3)), spec, outputs_named_y(lambda x: seen.append(x) or np.ones_like(x)), NARROW)
    assert len(seen) > 2
    assert all(x.min() >= 2 and x.max() <= 3 for x in seen)


@pytest.mark.parametrize(
    ("shape", "accepts", "drawn"),
    [
        ((None, None), lambda x: x.shape[1] == 64, (16, 64)),
        ((None, None, None, 3), lambda x: x.shape[1] >= 100, (16, 224, 224, 3)),
        ((None, None), lambda x: x.shape == (1, 1), (1, 1)),
        (None, lambda x: x.ndim == 1, (8,)),
        (None, lambda x: x.ndim == 0, ()),
        (None, lambda x: x.ndim == 4 and x.shape[1] == 32, (8, 32, 32, 3)),
        ((None,), lambda x: len(x) == 1, (1,)),
    ],
)
def test_choose_finds_a_shape_when_the_model_takes_few(
    shape: tuple[int | None, ...] | None, accepts: Callable[[Any], bool], drawn: tuple[int, ...]
) -> None:
    chosen = choosing.choose(unary(shape), GoldenSpec(), refusing(accepts), NARROW)
    assert chosen.cases[0].inputs["x"].shape == drawn


def test_choose_draws_small_numbers_when_others_are_out_of_range() -> None:
    chosen = choosing.choose(unary((None,), "int64"), GoldenSpec(), refusing(lambda x: x.max() < 3), NARROW)
    assert chosen.plan.numbers == "unit"
    assert set(chosen.cases[0].inputs["x"].tolist()) == {0, 1}


@pytest.mark.parametrize(
    ("shape", "inputs", "words"),
    [
        (
            (None, None),
            {},
            r"no such shape \(tried sizes 1, 8, 16, 32, 64, 224\); give the shape of 'x' under 'golden\.inputs'",
        ),
        ((None, 3), {}, "no such shape; say how to draw 'x' under 'golden.inputs', or give 'golden.data'"),
        ((None, None), {"x": InputRange(shape=(5,))}, "no such shape; say how to draw 'x' under"),
    ],
    ids=["dynamic", "static", "settled"],
)
def test_choose_says_what_to_give_when_the_model_takes_nothing(
    shape: tuple[int | None, ...], inputs: dict[str, InputRange], words: str
) -> None:
    with pytest.raises(BadInput, match=words):
        choosing.choose(unary(shape), GoldenSpec(inputs=inputs), refusing(lambda _: False), NARROW)


@pytest.mark.parametrize(
    ("dtype", "hint", "drawn"),
    [
        ("int32", Hint(high=300), set(range(300))),
        ("float32", Hint(high=3), {0.0, 1.0, 2.0}),
        ("int8", Hint(high=300), set(range(128))),
        ("string", Hint(values=(b"a", b"b"), unknown=b"c"), {b"a", b"b", b"c"}),
        ("string", Hint(make=lambda rng, plan: b"made"), {b"made"}),
    ],
    ids=["range", "cast", "narrow", "words", "made"],
)
def test_draw_follows_the_hint_when_the_graph_gives_one(dtype: str, hint: Hint, drawn: set[Any]) -> None:
    call, _ = drawing.draw(unary((None, 80), dtype), GoldenSpec(), {"x": hint})
    assert set(call["x"].ravel().tolist()) <= drawn
    assert len(set(call["x"].ravel().tolist())) > 0.9 * len(drawn)
    given = GoldenSpec(inputs={"x": InputRange(values=(1,))})
    (told, _) = drawing.draw(unary((None, 80), dtype), given, {"x": hint})
    assert len(set(told["x"].ravel().tolist())) == 1


def test_draw_makes_sentences_when_words_are_split() -> None:
    hint = Hint(values=(b"a", b"b"), unknown=b"c", sentences=True)
    call, _ = drawing.draw(unary((None,), "string"), GoldenSpec(), {"x": hint}, Plan(unknown=False))
    assert {word for text in call["x"] for word in text.split()} == {b"a", b"b"}
    assert {len(text.split()) for text in call["x"]} == {1, 2, 3, 4, 5, 6}


def test_draw_calibration_gives_goldens_inputs_and_others() -> None:
    spec, plan = GoldenSpec(), Plan(numbers="unit")
    golden_inputs = drawing.draw(unary((None, 3)), spec, {}, plan)
    (many,) = drawing.draw_calibration(unary((None, 3)), spec, {}, plan, golden_inputs)
    assert many["x"].shape == (64 + 17, 3)
    assert 0 <= many["x"].min() < many["x"].max() < 1
    assert set(golden_inputs[0]["x"].ravel().tolist()) <= set(many["x"].ravel().tolist())
    assert len(set(many["x"].ravel().tolist())) == many["x"].size
    static = drawing.draw_calibration(unary((2, 3)), spec, {}, plan, drawing.draw(unary((2, 3)), spec, {}, plan))
    assert [call["x"].shape for call in static] == [(2, 3)] * 68
    signal = unary((None, None))
    (usual, *_) = drawing.draw(signal, spec, {}, plan)
    short = {"x": usual["x"][:2, :3]}
    sizes = [call["x"].shape for call in drawing.draw_calibration(signal, spec, {}, plan, [usual, short])]
    assert sizes == [(64 + len(usual["x"]), usual["x"].shape[1]), (2, 3)]
    wide = drawing.draw(unary((None, 1 << 20)), GoldenSpec(samples=2), {}, plan)
    (few,) = drawing.draw_calibration(unary((None, 1 << 20)), spec, {}, plan, wide)
    assert few["x"].shape == (16 + 3, 1 << 20)


def given_data(data: Any, wanted: Signature, samples: int = 16) -> Any:
    return golden.from_data(data, "serving_default", wanted, GoldenSpec(samples=samples), "golden.data (m.py:data)")


def test_from_data_gives_all_samples_and_the_first_alone_when_the_batch_is_dynamic() -> None:
    data = {"x": np.arange(10).reshape(5, 2), "unused": 1}
    calls = given_data(data, signature(x=((None, 2), "float32")), samples=4)
    assert [call["x"].tolist() for call in calls] == [[[0, 1], [2, 3], [4, 5], [6, 7]], [[0, 1]]]
    assert calls[0]["x"].dtype == np.float32


def test_from_data_gives_a_call_for_each_sample_when_the_batch_is_static() -> None:
    calls = given_data({"x": [[1, 2], [3, 4], [5, 6]]}, signature(x=((2,), "int64")))
    assert [call["x"].tolist() for call in calls] == [[1, 2], [3, 4], [5, 6]]


@pytest.mark.parametrize(("dtype", "value"), [("float32", 1.5), ("string", b"one\0")])
def test_from_data_gives_arrays_when_a_sample_is_a_scalar(dtype: str, value: Any) -> None:
    calls = given_data({"x": np.array([value, value], dtype=object)}, signature(x=((), dtype)))
    assert [(type(call["x"]), call["x"].shape, call["x"].item()) for call in calls] == [(np.ndarray, (), value)] * 2


def test_from_data_takes_whole_numbers_when_the_dtype_can_hold_them() -> None:
    calls = given_data({"x": [0.0, 255.0]}, signature(x=((None,), "uint8")))
    assert_same(calls[0]["x"], np.uint8([0, 255]))


@pytest.mark.parametrize(("dtype", "value"), [("int32", 0.5), ("int32", np.nan), ("uint8", 256), ("bool", 2)])
def test_from_data_refuses_values_when_the_dtype_cannot_hold_them(dtype: str, value: float) -> None:
    with pytest.raises(BadInput, match=f"input 'x' cannot be {dtype}"):
        given_data({"x": [1, value]}, signature(x=((None,), dtype)))


def test_from_data_takes_text_when_the_input_is_a_string() -> None:
    calls = given_data({"x": ["a", "é", "c"]}, signature(x=((None,), "string")))
    assert calls[0]["x"].tolist() == [b"a", "é".encode(), b"c"]
    assert calls[0]["x"].dtype == object


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({"y": [1], "z": [1]}, r"no array for input 'x' of signature 'serving_default'; it gives \['y', 'z'\]"),
        ({"x": [[1, 2, 3]]}, r"input 'x' has shape \[1, 3\], which does not fit \[None, 2\]"),
        ({"x": [1, 2]}, r"input 'x' has shape \[2\]"),
        ({"x": np.zeros((0, 2))}, "at least one"),
        ({"x": [["a", "b"]]}, r"input 'x'.*float32"),
        ({"x": [[1, 2], [3]]}, "input 'x'"),
    ],
    ids=["name", "shape", "rank", "empty", "kind", "ragged"],
)
def test_from_data_names_what_is_wrong_when_data_does_not_fit(data: Any, words: str) -> None:
    with pytest.raises(BadInput, match=r"^golden\.data \(m\.py:data\).*" + words):
        given_data(data, signature(x=((None, 2), "float32")))


def test_from_data_names_the_signature_when_inputs_differ_in_length() -> None:
    with pytest.raises(BadInput, match="'serving_default' must have the same number of samples"):
        given_data({"a": [1, 2], "b": [1]}, signature(a=((None,), "int32"), b=((None,), "int32")))


@given(tensors(), tensors())
@example(texts(b"a\0", b"b"), texts(b"a", b"\0b"))
def test_describe_variable_differs_when_any_bit_does(one: np.ndarray[Any, Any], two: np.ndarray[Any, Any]) -> None:
    same = (one.dtype, one.shape) == (two.dtype, two.shape) and (
        one.tolist() == two.tolist() if one.dtype == object else one.tobytes() == two.tobytes()
    )
    assert (variables.describe_variable("v", one) == variables.describe_variable("v", two)) == same
