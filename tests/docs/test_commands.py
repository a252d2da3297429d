"""Every command and snippet of the documentation does what it says: each page is followed, from its top to its end."""

import io
import re
import shutil
from pathlib import Path

import numpy as np
import pages
import pytest
import reader
from command import Fanout
from given_data import write_images, write_wav
from pages import Snippet
from reader import Reader
from rich.console import Console

from converters.config import read
from converters.contract.errors import BadInput
from converters.processes import child
from converters.release import manifest
from flows.show.tables import ManifestTable

TUTORIAL = "docs/tutorial.md"
HELP = "docs/reference/commands.md"
"""The examples of `--help`, of commands that tests/flows calls."""
FOLLOWED = [
    page
    for page in pages.pages()
    if page not in (HELP, TUTORIAL)
    and any(snippet.language not in ("text", "json") for snippet in pages.snippets(page))
]


def bring(place: Path) -> None:
    """What the pages take for granted that a user has. For a child process."""
    import tf_keras

    tf_keras.utils.set_random_seed(1)
    layers = tf_keras.layers
    faces = tf_keras.Sequential(
        [
            layers.Input((8, 8, 3), name="face"),
            layers.Conv2D(4, 3, activation="relu"),
            layers.Flatten(),
            layers.Dense(2, name="smile"),
        ]
    )
    voices = tf_keras.Sequential(
        [layers.Input((64,), name="voice"), layers.Dense(4, "tanh"), layers.Dense(2, name="who")]
    )
    faces.save(place / "faces.keras")
    voices.save(place / "voices.h5")
    voices.export(place / "exports" / "keyword" / "1")
    for number in range(24):
        write_wav(place / "recordings" / f"{number}.wav", np.random.default_rng(number).uniform(-1, 1, 64))
    pixels = np.random.default_rng(0).integers(0, 256, (24, 8, 8, 3))
    configs = place / "configs"
    for name in ("NAME.py", "layers.py", "vocab.txt", "ckpt/1"):
        (configs / name).parent.mkdir(exist_ok=True)
        (configs / name).write_text("")
    (configs / "digits.txt").write_text("\n".join("0123456789"))
    write_images({place / "photos" / f"{number}.png": image for number, image in enumerate(pixels)})


@pytest.fixture(scope="module")
def beginner(tmp_path_factory: pytest.TempPathFactory, fanout: Fanout) -> Reader:
    """Who has followed the tutorial, whose model other pages name, too."""
    folder = tmp_path_factory.mktemp("reader")
    shutil.copytree(read.CONFIGS, folder / "configs")
    child.run(bring, folder)
    reader = Reader(folder, fanout)
    for snippet in pages.snippets(TUTORIAL):
        reader.follow(snippet)
    return reader


@pytest.fixture
def place(beginner: Reader) -> Path:
    return beginner.place


@pytest.mark.timeout(1200)
@pytest.mark.browser
def test_the_tutorial_works_when_it_is_followed(beginner: Reader) -> None:
    assert "exit status 1" in beginner.said
    assert {path.parent.name for path in beginner.place.glob("releases/*/current")} >= {"digits", "prices"}


@pytest.mark.timeout(1200)
@pytest.mark.browser
@pytest.mark.parametrize("page", FOLLOWED)
def test_a_page_works_when_it_is_followed(page: str, place: Path, fanout: Fanout) -> None:
    follower = Reader(place, fanout)
    for snippet in pages.snippets(page):
        follower.follow(snippet)


@pytest.mark.timeout(1200)
def test_the_table_of_the_readme_is_what_is_shown(place: Path, fanout: Fanout) -> None:
    fanout("deploy", "digits", releases=place / "releases")
    console = Console(width=80, file=io.StringIO(), highlight=False)
    console.print(ManifestTable(manifest.read((place / "releases" / "digits" / "current").resolve())))
    shown = [words(line) for line in str(console.file.getvalue()).splitlines()]
    (table,) = (snippet.text for snippet in pages.snippets("README.md") if snippet.text.startswith("digits"))
    assert [line for line in table.splitlines() if words(line) not in shown] == []


def words(line: str) -> list[str]:
    """Those of a line of a table that no measurement changes."""
    return re.findall(r"[a-z]+(?:_[a-z]+)*\d*\b", re.sub(r"\b[\d.]+(e-\d+)?", "", line))


def test_examples_of_help_name_what_there_is() -> None:
    lines = [(place, line) for place, line in reader.commands() if place.startswith(HELP)]
    assert len(lines) > 5
    for place, line in lines:
        reader.require_names(line, place)


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("sh", "fanout inspect nowhere\n"),
        ("sh", "ls nowhere\n"),
        ("python", "import nothing_of_that_name\n"),
        ("yaml", "# configs/wrong.yaml\nmodel: nowhere.py:build\n"),
        ("yaml", "# nightly.yaml\nschedule: sometimes\n"),
        ("yaml", "model: nowhere.py:build\n"),
    ],
)
def test_a_snippet_that_does_not_work_is_found_out(language: str, text: str, tmp_path: Path, fanout: Fanout) -> None:
    with pytest.raises((AssertionError, BadInput)):
        Reader(tmp_path, fanout).follow(Snippet("a page", 1, language, text))


def test_every_reason_to_leave_a_command_is_needed() -> None:
    lines = [line.removeprefix(".venv/bin/") for _, line in reader.commands()]
    assert [pattern for pattern in reader.LEFT if not any(re.match(pattern, line) for line in lines)] == []


@pytest.mark.parametrize(
    "line",
    [
        "make deploy-everything",
        "make ui PROT=1",
        "fanout worker --slotz 4 tcp://a:1",
        "fanout depoly --dask x",
        "docker run nothing",
    ],
)
def test_a_name_that_there_is_not_is_found_out(line: str) -> None:
    with pytest.raises(Exception, match=r"."):
        reader.require_names(line, "here")
