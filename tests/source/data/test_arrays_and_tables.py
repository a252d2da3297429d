"""Arrays and tables that a user gives, read as a model's inputs; every wrong thing in one sentence."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from given_data import given, signature

from converters.contract.errors import BadInput
from converters.contract.values import Signature

FOUR = signature(x=("float32", None, 4))
NUMBERS = np.arange(40, dtype=np.float64).reshape(10, 4)


def table(folder: Path, text: str, name: str = "data.csv") -> str:
    (folder / name).write_text(text)
    return name


def rows(numbers: Any) -> str:
    return "".join(",".join(map(str, row)) + "\n" for row in numbers)


def sorted_rows(array: Any) -> Any:
    """Rows of a table come in an order that tells nothing."""
    return np.array(sorted(np.asarray(array).tolist()))


def test_read_takes_arrays_of_an_npz_by_input_name(tmp_path: Path) -> None:
    np.savez(tmp_path / "data.npz", x=NUMBERS, other=np.arange(3))
    read = given(tmp_path, "data.npz", FOUR)
    np.testing.assert_array_equal(read.tensors["serving_default"]["x"], NUMBERS)


def test_read_takes_arrays_of_an_npz_by_signature_when_they_are_named_so(tmp_path: Path) -> None:
    np.savez(tmp_path / "data.npz", **{"first/x": NUMBERS, "second/x": NUMBERS + 1})
    tensors = given(tmp_path, "data.npz", dict.fromkeys(("first", "second", "third"), FOUR)).tensors
    assert tensors.keys() == {"first", "second"}
    np.testing.assert_array_equal(tensors["second"]["x"], NUMBERS + 1)


@pytest.mark.parametrize("order", ["C", "F"])
def test_read_takes_the_first_samples_of_an_npy_when_the_model_has_one_input(tmp_path: Path, order: Any) -> None:
    np.save(tmp_path / "data.npy", np.array(NUMBERS, order=order))
    read = given(tmp_path, "data.npy", FOUR, most=3, least=3)
    np.testing.assert_array_equal(read.tensors["serving_default"]["x"], NUMBERS[:3])


@pytest.mark.parametrize("name", ["data.npz", "data.npy"])
def test_read_unpickles_nothing_when_an_array_holds_objects(tmp_path: Path, name: str) -> None:
    array = np.array([{"x": 1}], dtype=object)
    (np.savez if name.endswith("z") else np.save)(
        tmp_path / name, **({"x": array} if name.endswith("z") else {"arr": array})
    )
    with pytest.raises(BadInput, match="holds Python objects, which are not unpickled"):
        given(tmp_path, name, FOUR)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-40])


@pytest.mark.parametrize(
    ("name", "signatures", "harm", "sentence"),
    [
        ("data.npz", FOUR, cut, "cannot be read as .npz"),
        ("data.npy", FOUR, cut, "ends after 280 of 320 bytes"),
        ("data.npy", FOUR, lambda path: path.write_bytes(b"nothing"), "cannot be read as an array"),
        ("data.npy", signature(x=("float32", None, 4), y=("float32", None)), lambda path: None, "is one array, but the inputs"),
        ("data.npz", signature(y=("float32", None, 4)), lambda path: None, r"gives ['x'], but the inputs by signature are"),
    ],
    ids=["npz", "npy", "no array", "inputs", "names"],
)  # fmt: skip
def test_read_raises_bad_input_when_a_file_of_arrays_does_not_fit(
    tmp_path: Path, name: str, signatures: Signature, harm: Any, sentence: str
) -> None:
    np.savez(tmp_path / "data.npz", x=NUMBERS)
    np.save(tmp_path / "data.npy", NUMBERS)
    harm(tmp_path / name)
    with pytest.raises(BadInput, match=rf"^golden\.data \({re.escape(name)}\).*{re.escape(sentence)}"):
        given(tmp_path, name, signatures)


@pytest.mark.parametrize(
    "header", ["x_0,x_1,x_2,x_3\n", "x[0],x[1],x[2],x[3]\n", "a,b,c,d\n", ""], ids=["_", "[]", "others", "none"]
)
@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_read_takes_the_columns_of_a_csv(tmp_path: Path, header: str, separator: str) -> None:
    text = (header + rows(NUMBERS)).replace(",", separator)
    read = given(tmp_path, table(tmp_path, text, "data.tsv" if separator == "\t" else "data.csv"), FOUR)
    np.testing.assert_array_equal(sorted_rows(read.tensors["serving_default"]["x"]), NUMBERS)
    assert bool(read.said) == header.startswith("a")


def test_read_takes_columns_by_name_in_whatever_order_they_are(tmp_path: Path) -> None:
    wanted = signature(size=("int64", None, 1), word=("string", None), x=("float32", None, 2, 2), on=("bool", None))
    text = 'x_3,word,x_1,size,x_0,x_2,on,unused\n3,"a, b",1,7,0,2,true,z\n'
    tensors = given(tmp_path, table(tmp_path, text), wanted).tensors["serving_default"]
    assert tensors["x"].tolist() == [[[0, 1], [2, 3]]]
    assert tensors["size"].tolist() == [[7]]
    assert tensors["word"].tolist() == [b"a, b"]
    assert tensors["on"].tolist() == [True]


def test_read_takes_rows_from_all_of_a_csv_the_same_every_time(tmp_path: Path) -> None:
    text = "x_0,x_1,x_2,x_3\n" + rows([[n, n, n, n] for n in range(1000)])
    one, two = (given(tmp_path, table(tmp_path, text), FOUR, most=16).tensors["serving_default"]["x"] for _ in range(2))
    np.testing.assert_array_equal(one, two)
    assert one.shape == (16, 4)
    assert one[:4].max() > 100
    assert one.max() > 500


def test_read_leaves_out_a_column_that_is_no_number_when_the_others_fit(tmp_path: Path) -> None:
    text = "a,b,c,d,species\n" + "1,2,3,4,setosa\n5,6,7,8,virginica\n"
    read = given(tmp_path, table(tmp_path, text), FOUR)
    assert read.tensors["serving_default"]["x"].shape == (2, 4)
    assert "column 'species' is no number, and left out" in read.said


@pytest.mark.parametrize(
    ("text", "labels"),
    [
        ("a,b,labels,c,d\n1,2,1,3,4\n5,6,0,7,8\n", [0, 1]),
        ("a,b,c,d,labels\n1,2,3,4,setosa\n5,6,7,8,virginica\n", [0, 1]),
        ("1,2,3,4,setosa\n5,6,7,8,virginica\n", [0, 1]),
        ("a,b,c,d,labels\n1,2,3,4,0.5\n5,6,7,8,1\n", [0.5, 1]),
    ],
    ids=["numbers", "classes", "no header", "fractions"],
)
def test_read_takes_labels_of_a_csv_when_they_are_asked_for(tmp_path: Path, text: str, labels: list[float]) -> None:
    read = given(tmp_path, table(tmp_path, text), FOUR, labelled=True)
    assert sorted(read.labels.tolist()) == labels
    assert read.tensors["serving_default"]["x"].shape == (2, 4)
    assert ("classes are numbered in alphabetical order: setosa = 0, virginica = 1" in read.said) == ("setosa" in text)


def test_read_numbers_classes_by_all_rows_when_few_are_taken(tmp_path: Path) -> None:
    names = [f"class{n:03}" for n in range(100)]
    text = "x_0,x_1,x_2,x_3,labels\n" + "".join(f"{n},0,0,0,{name}\n" for n, name in enumerate(names))
    read = given(tmp_path, table(tmp_path, text), FOUR, labelled=True, most=10, least=10)
    assert read.labels.tolist() == read.tensors["serving_default"]["x"][:, 0].astype(int).tolist()


@pytest.mark.parametrize(
    ("text", "asked", "sentence"),
    [
        ("", {}, " is empty"),
        ("x_0,x_1,x_2,x_3\n", {}, " has a header and no rows"),
        ("x_0,x_1,x_3\n1,2,4\n", {}, " has no column 'x_2' for signature 'serving_default'; it has x_0, x_1, x_3"),
        ("x_0,x_1,x_2,x_3\n1,2,3,4\n5,6,nan,8\n", {}, ", line 3, column 'x_2': 'nan' is no finite float32"),
        ("x_0,x_1,x_2,x_3\n1,2,3,4\n5,6,,8\n", {}, ", line 3, column 'x_2': an empty cell is no finite float32"),
        ("x_0,x_1,x_2,x_3\n1,2,3,four\n", {}, ", line 2, column 'x_3': 'four' is no finite float32"),
        ("x_0,x_1,x_2,x_3\n1,2,3\n", {}, ", line 2: it has 3 cells in place of 4"),
        ("a,b,c\n1,2,3\n", {}, " has 3 columns beside 'labels', but input 'x' of 'serving_default' takes 4; name them"),
        ("x_0,x_1,x_2,x_3\n1,2,3,4\n", {"labelled": True}, " has no column 'labels'; it has x_0, x_1, x_2, x_3"),
        ("a,b,c,d,labels\n1,2,3,4,\n", {"labelled": True}, ", line 2, column 'labels': an empty cell is no label"),
        ("\xff\xfe", {}, " cannot be read as CSV"),
    ],
)
def test_read_raises_bad_input_when_a_csv_is_wrong(
    tmp_path: Path, text: str, asked: dict[str, Any], sentence: str
) -> None:
    (tmp_path / "data.csv").write_bytes(text.encode("latin-1"))
    with pytest.raises(BadInput, match=rf"^golden\.data \(data\.csv\){re.escape(sentence)}") as caught:
        given(tmp_path, "data.csv", FOUR, **asked)
    assert "\n" not in str(caught.value)


def test_read_raises_bad_input_when_a_csv_holds_fractions_for_integers(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"line 2, column 'n': '1\.5' is no int32"):
        given(tmp_path, table(tmp_path, "n\n1.5\n"), signature(n=("int32", None)))


@pytest.mark.parametrize(
    ("reference", "sentence"),
    [
        ("none.csv", "none.csv does not exist; give FILE.py:FUNCTION, an .npz"),
        ("data.xlsx", "data.xlsx is of no form that is read; give"),
        ("data.csv:0..1", "is followed by a range, 0..1, which only a folder of images can be"),
        ("none.py:data", "none.py does not exist"),
        ("code.py", "code.py is of no form that is read; give FILE.py:FUNCTION"),
    ],
)
def test_read_raises_bad_input_when_the_reference_is_wrong(tmp_path: Path, reference: str, sentence: str) -> None:
    for name in ("data.xlsx", "data.csv", "code.py"):
        (tmp_path / name).touch()
    with pytest.raises(BadInput, match=rf"^golden\.data: .*{re.escape(sentence)}"):
        given(tmp_path, reference, FOUR)
