"""Folders of images, WAV and text that a user gives, and TFRecords, read as a model's inputs."""

import re
from functools import partial
from pathlib import Path
from typing import Any

import given_data
import numpy as np
import pytest
from given_data import signature

from converters.contract.errors import BadInput
from converters.contract.values import Signature
from converters.processes.child import run
from converters.source.data.asked import Read

pytestmark = pytest.mark.tensorflow

KEY = "serving_default"
COLOUR = signature(image=("float32", None, 4, 6, 3))
RNG = np.random.default_rng(2)
RED = np.broadcast_to(np.uint8([255, 0, 0]), (4, 6, 3))
BLUE = np.broadcast_to(np.uint8([0, 0, 255]), (4, 6, 3))


def given(folder: Path, signatures: Any, reference: str = "data", **asked: Any) -> Read:
    return run(partial(given_data.given, folder, reference, signatures, **asked)).value


@pytest.fixture(scope="module", name="pictures")
def _pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """data/: two sizes of PNG and a JPEG, of which one is grey and one has an opacity. Nobody may change it."""
    folder = tmp_path_factory.mktemp("pictures")
    data = folder / "data"
    run(
        given_data.write_images,
        {
            data / "red" / "1.png": RED,
            data / "red" / "2.jpg": RED,
            data / "blue" / "1.png": BLUE,
            data / "blue" / "large.png": np.broadcast_to(np.uint8([0, 0, 255, 255]), (40, 60, 4)),
            data / "grey" / "1.png": np.full((4, 6, 1), 51),
            folder / "named" / "1.png": np.full((4, 6, 3), 51),
        },
    )
    return folder


def test_read_decodes_and_resizes_images_in_the_channels_that_the_input_wants(pictures: Path) -> None:
    read = given(pictures, COLOUR)
    images = read.tensors[KEY]["image"]
    assert (images.shape, images.dtype) == ((5, 4, 6, 3), np.float32)
    means = sorted(tuple(mean) for mean in images.mean(axis=(1, 2)).round(2).tolist())
    np.testing.assert_allclose(means, [(0, 0, 1), (0, 0, 1), (0.2, 0.2, 0.2), (1, 0, 0), (1, 0, 0)], atol=0.02)
    assert read.said == ("images are given to input 'image' in the range 0..1, as it was told",)
    assert read.folders == (pictures / "data",)


@pytest.mark.parametrize(
    ("wanted", "shape", "dtype", "highest"),
    [
        (("float32", None, 8, 8, 1), (5, 8, 8, 1), "float32", 1),
        (("float32", None, 8, 8), (5, 8, 8), "float32", 1),
        (("float32", None, 3, 8, 9), (5, 3, 8, 9), "float32", 1),
        (("float32", None, None, None, 3), (5, 4, 6, 3), "float32", 1),
        (("float16", None, 4, 6, 4), (5, 4, 6, 4), "float16", 1),
        (("float32", 1, 4, 6, 3), (5, 1, 4, 6, 3), "float32", 1),
        (("float32", 2, 4, 6, 3), (2, 2, 4, 6, 3), "float32", 1),
        (("float32", 4, 6, 3), (5, 4, 6, 3), "float32", 1),
        (("uint8", None, 4, 6, 3), (5, 4, 6, 3), "uint8", 255),
        (("int8", None, 4, 6, 3), (5, 4, 6, 3), "int8", 127),
    ],
    ids=["grey", "no channels", "channels first", "any size", "opacity", "batch 1", "batch 2", "no batch", "uint8", "int8"],
)  # fmt: skip
def test_read_gives_images_in_the_input_s_shape_and_dtype(
    pictures: Path, wanted: tuple[Any, ...], shape: tuple[int, ...], dtype: str, highest: int
) -> None:
    images = given(pictures, signature(image=wanted)).tensors[KEY]["image"]
    assert (images.shape, images.dtype) == (shape, dtype)
    assert images.max() == pytest.approx(highest if shape[-1] != 1 and len(shape) > 3 else 0.3, abs=0.05)


def test_read_takes_the_commonest_size_and_says_so_when_the_input_has_none(pictures: Path) -> None:
    (sentence,) = given(pictures, signature(image=("float32", None, None, None, 3))).said
    assert sentence.endswith("; resized to 4 x 6")


@pytest.mark.parametrize(
    ("values", "wanted"),
    [("-1..1", [-0.6] * 3), ("0..255", [51] * 3), ("caffe", [51 - 103.939, 51 - 116.779, 51 - 123.68])],
)
def test_read_gives_images_in_the_range_that_is_named(pictures: Path, values: str, wanted: list[float]) -> None:
    read = given(pictures, COLOUR, f"named:{values}")
    np.testing.assert_allclose(read.tensors[KEY]["image"][0, 0, 0], wanted, rtol=1e-5)
    assert "as named" in read.said[0]


def test_read_labels_files_by_the_class_that_their_subfolder_is(pictures: Path) -> None:
    read = given(pictures, COLOUR, labelled=True)
    colours = read.tensors[KEY]["image"].mean(axis=(1, 2))
    assert [int(np.argmax(c)) if c.max() > 0.5 else 3 for c in colours] == [[2, 3, 0][n] for n in read.labels]
    assert "classes are numbered in alphabetical order: blue = 0, grey = 1, red = 2" in read.said


def test_read_gives_files_as_they_are_when_the_input_takes_text(pictures: Path) -> None:
    image = given(pictures, signature(image=("string", None)), "named").tensors[KEY]["image"]
    assert image.tolist() == [(pictures / "named" / "1.png").read_bytes()]


def test_read_reads_no_more_than_golden_needs_when_samples_are_large(pictures: Path) -> None:
    large = signature(image=("int32", None, 1500, 3000, 3))  # 54 MB each
    assert given(pictures, large, most=256, least=2).tensors[KEY]["image"].shape[0] == 2


def test_read_cuts_and_pads_recordings_and_averages_their_channels(tmp_path: Path) -> None:
    given_data.write_wav(tmp_path / "data" / "short" / "a.wav", np.full(6, 0.5))
    given_data.write_wav(tmp_path / "data" / "stereo" / "b.wav", np.stack([np.full(20, 0.5), np.zeros(20)], 1))
    for wanted, shape in ((("float32", None, 10), (2, 10)), (("float32", None, 10, 1), (2, 10, 1))):
        read = given(tmp_path, signature(sound=wanted), labelled=True)
        waves = read.tensors[KEY]["sound"]
        assert waves.shape == shape
        short, stereo = (waves[read.labels == n][0].ravel() for n in (0, 1))
        np.testing.assert_allclose(short, [0.5] * 6 + [0] * 4, atol=1e-4)
        np.testing.assert_allclose(stereo, [0.25] * 10, atol=1e-4)
        assert "recordings are given to input 'sound' at their own 16000 Hz, in 10 samples" in read.said


def test_read_gives_recordings_of_the_commonest_length_when_the_input_takes_any(tmp_path: Path) -> None:
    for name, length in (("a", 7), ("b", 9), ("c", 9)):
        given_data.write_wav(tmp_path / "data" / f"{name}.wav", np.ones(length))
    waves = given(tmp_path, signature(sound=("int16", None, None))).tensors[KEY]["sound"]
    assert (waves.shape, waves.dtype, waves.max()) == ((3, 9), np.int16, 32767)


@pytest.mark.parametrize("shape", [(None,), (None, 1)])
def test_read_gives_text_files_to_an_input_of_text(tmp_path: Path, shape: tuple[int | None, ...]) -> None:
    (tmp_path / "data").mkdir()
    for name in ("one", "two"):
        (tmp_path / "data" / f"{name}.txt").write_text(f"words of {name}")
    texts = given(tmp_path, signature(text=("string", *shape))).tensors[KEY]["text"]
    assert sorted(texts.ravel().tolist()) == [b"words of one", b"words of two"]
    assert texts.shape == ((2,) if len(shape) == 1 else (2, 1))


def broken_image(data: Path) -> None:
    (data / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nnothing")


def broken_wav(data: Path) -> None:
    (data / "broken.wav").write_bytes(b"RIFF nothing")


def several_rates(data: Path) -> None:
    for rate in (8000, 16000):
        given_data.write_wav(data / f"{rate}.wav", np.ones(5), rate)


def silence(data: Path) -> None:
    given_data.write_wav(data / "a.wav", np.ones(0))


def nothing(data: Path) -> None:
    (data / ".hidden.png").touch()
    (data / "notes.md").touch()


SOUND = signature(sound=("float32", None, 10))


@pytest.mark.parametrize(
    ("make", "wanted", "reference", "asked", "sentence"),
    [
        (broken_image, COLOUR, "data", {}, ": broken.png cannot be decoded as an image: "),
        (broken_image, SOUND, "data", {}, " is a folder of images, but no signature has one input that takes them: "),
        (
            broken_image,
            COLOUR,
            "data",
            {"labelled": True},
            ": broken.png is in no subfolder; put the files of each class",
        ),
        (broken_wav, SOUND, "data", {}, ": broken.wav cannot be decoded as WAV: "),
        (several_rates, SOUND, "data", {}, " has recordings of several sample rates, 8000, 16000 Hz"),
        (several_rates, SOUND, "data:0..1", {}, " is a folder of WAV files; a range, 0..1, is for images"),
        (silence, SOUND, "data", {}, ": a.wav holds no sound"),
        (nothing, COLOUR, "data", {}, " is a folder with no file that is read; put .jpg, "),
    ],
)
def test_read_raises_bad_input_when_a_folder_is_wrong(
    tmp_path: Path, make: Any, wanted: Signature, reference: str, asked: dict[str, Any], sentence: str
) -> None:
    (tmp_path / "data").mkdir()
    make(tmp_path / "data")
    with pytest.raises(BadInput, match=rf"^golden\.data \({reference}\){re.escape(sentence)}") as caught:
        given(tmp_path, wanted, reference, **asked)
    assert "\n" not in str(caught.value)


def test_read_raises_bad_input_when_there_are_fewer_files_than_a_batch(pictures: Path) -> None:
    with pytest.raises(BadInput, match="has 5 files, but the model takes 8 at a time"):
        given(pictures, signature(image=("float32", 8, 4, 6, 3)))
    with pytest.raises(BadInput, match="cannot be prepared as 'caffe': that is for images of 3 channels"):
        given(pictures, signature(image=("float32", None, 4, 6, 1)), "data:caffe")


EXAMPLES = [{"x": [float(n), 1.0, 2.0, 3.0], "n": [n], "word": [b"w%d" % n], "labels": [n % 2]} for n in range(6)]
FEATURES = signature(x=("float32", None, 2, 2), n=("int32", None), word=("string", None, 1))


@pytest.mark.parametrize("compression", ["", "GZIP"])
def test_read_takes_features_of_examples_by_input_name(tmp_path: Path, compression: str) -> None:
    run(given_data.write_examples, tmp_path / "data.tfrecord", EXAMPLES, compression)
    read = given(tmp_path, FEATURES, "data.tfrecord", labelled=True)
    tensors = read.tensors[KEY]
    numbers = tensors["n"].tolist()
    assert sorted(numbers) == list(range(6))
    assert tensors["x"].tolist() == [[[n, 1], [2, 3]] for n in numbers]
    assert tensors["word"].tolist() == [[b"w%d" % n] for n in numbers]
    assert read.labels.tolist() == [n % 2 for n in numbers]


def test_read_gives_records_themselves_when_the_input_takes_serialized_examples(tmp_path: Path) -> None:
    run(given_data.write_examples, tmp_path / "data.tfrecord-00000-of-00001", [{"f": [1.0], "labels": [b"yes"]}] * 2)
    read = given(tmp_path, signature(examples=("string", None)), "data.tfrecord-00000-of-00001", labelled=True)
    one, two = read.tensors[KEY]["examples"]
    assert one == two
    assert b"yes" in one
    assert read.labels.tolist() == [0, 0]


@pytest.mark.parametrize(
    ("examples", "asked", "sentence"),
    [
        ([{"y": [1.0]}], {}, " has features ['y'], but the inputs by signature are {'serving_default': ['n', 'word', 'x']}"),
        ([{"x": [1.0]}], {}, ": feature 'x' holds 1 values, which do not fit [2, 2]"),
        ([{"x": [b"1"] * 4}], {}, ": feature 'x' holds bytes, but the input is float32"),
        ([{"x": [1.0, 2.0, 3.0, float("nan")]}], {}, ": feature 'x' holds a number that is not finite"),
        ([{"x": [1.0] * 4}], {}, " has a record without 'n', an input of signature 'serving_default'; it has ['x']"),
        ([EXAMPLES[0] | {"n": [0.5]}], {}, ": feature 'n' cannot be int32: it holds other values"),
        ([{k: v for k, v in EXAMPLES[0].items() if k != "labels"}], {"labelled": True}, " has records without the feature"),
        ([], {}, " holds no record"),
    ],
)  # fmt: skip
def test_read_raises_bad_input_when_a_tfrecord_does_not_fit(
    tmp_path: Path, examples: Any, asked: dict[str, Any], sentence: str
) -> None:
    run(given_data.write_examples, tmp_path / "data.tfrecord", examples)
    with pytest.raises(BadInput, match=rf"^golden\.data \(data\.tfrecord\){re.escape(sentence)}"):
        given(tmp_path, FEATURES, "data.tfrecord", **asked)


def test_read_raises_bad_input_when_a_tfrecord_is_damaged(tmp_path: Path) -> None:
    path = tmp_path / "data.tfrecord"
    run(given_data.write_examples, path, EXAMPLES)
    whole = path.read_bytes()
    for content, words in (
        (whole[:-3], "it ends within the record at byte"),
        (whole[:20] + b"\xff" + whole[21:], "the record at byte 0 fails its checksum"),
        (b"no records at all", "the record at byte 0 fails its checksum"),
    ):
        path.write_bytes(content)
        with pytest.raises(BadInput, match=words):
            given(tmp_path, FEATURES, "data.tfrecord")
