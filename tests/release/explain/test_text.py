"""Text of a model is text in all that a release says of itself, whatever is in it."""

import ast
import json
import re
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from markdown_it import MarkdownIt

from converters.config.spec import ModelSpec
from converters.contract.preprocessing import Preprocessing
from converters.contract.values import Case, Ends, Scale, Signature, TensorSpec
from converters.javascript import programs
from converters.reference.golden import Golden
from converters.reference.observed import observed
from converters.release.explain import example, mobile, quoting
from converters.release.explain.write import write
from converters.release.manifest import Manifest, Row, SourceRecord

IMAGE = "<img src=x onerror=\"document.title='owned'\">"
KEY = f'key {IMAGE} `$(id)` ${{x}} \'""" */ -->'
INPUT = f"in {IMAGE} ``` \\(x) $x </script><script>alert(1)</script> | a"
OUTPUT = "out\\ \"'`| ${1} <!-- <script> ]]>"
TEXT = f"1. {IMAGE}\n---\nlicense: mit\n---\n# heading [link](javascript:alert(1)) `code` | *bold* <script>alert(1)</script>"
WRITTEN = "USAGE.md", "README.md"


class Tags(HTMLParser):
    """The tags of a page with their attributes, and the text of its scripts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def names(self) -> set[str]:
        """The tags' names, and those of handlers."""
        return {tag for tag, _ in self.tags} | {name for _, own in self.tags for name in own if name.startswith("on")}


@pytest.fixture(scope="module", name="release")
def _release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What is written of a model whose every text is hostile; of its files only a graph model's topology is there."""
    root = tmp_path_factory.mktemp("release")
    image = np.linspace(0, 1, 48, dtype=np.float32).reshape(1, 4, 4, 3)
    case = Case(inputs={INPUT: image}, outputs={OUTPUT: np.array([[0.1, 0.9]], np.float32)})
    signature = Signature(
        inputs={INPUT: TensorSpec(shape=(None, 4, 4, 3), dtype="float32")},
        outputs={OUTPUT: TensorSpec(shape=(None, 2), dtype="float32")},
    )
    ends = Ends(inputs={INPUT: Scale(dtype="int8", scale=1 / 255, zero_point=-128)})
    graph = f"tfjs/graph/{quoting.quote(KEY, safe='')}/model.json"
    named = (
        ("saved_model", "default", "saved_model", {}),
        ("tflite", "float32", "tflite/float32.tflite", {}),
        ("tflite", "int8-io", "tflite/int8-io.tflite", {"quantized": ends}),
        ("tflite", "float32-batch1", "tflite/float32-batch1.tflite", {"shapes": {INPUT: (1, 4, 4, 3)}}),
        ("tfjs", "graph", graph, {}),
        ("tfjs", "layers", "tfjs/layers/model.json", {}),
        ("hdf5", "model", "hdf5/model.h5", {}),
        ("serving", "default", "serving/1", {}),
    )
    rows = [
        Row(target=target, variant=variant, signature=KEY, status="passed", data="given", path=path, bytes=9, **more)
        for target, variant, path, more in named
    ]
    lacking = Row(target="tfjs", variant="graph", signature=f"other {KEY}", status="unsupported", reason=TEXT)
    (root / graph).parent.mkdir(parents=True)
    (root / graph).write_text("{}")
    signatures = {KEY: signature}
    manifest = Manifest(
        model="hostile", version=1, status="passed", created="2026-11-22T02:00:07Z", seconds=1.0, environment={},
        source=SourceRecord(kind="keras", digest="sha256:0", signatures=signatures), targets=[*rows, lacking],
        notes=[TEXT], observed=observed(signatures, {KEY: [case]}),
    )  # fmt: skip
    spec = ModelSpec(
        name="hostile", model="x.py:build", description=TEXT, license=TEXT, intended_use=TEXT, labels={OUTPUT: (IMAGE, TEXT)},
        preprocessing={INPUT: Preprocessing(description=TEXT, mean=(1.0,), std=(2.0,))},
    )  # fmt: skip
    write(root, manifest, spec, Golden(cases={KEY: [case]}, apart={KEY: True}))
    return root


def body(text: str) -> str:
    """What is shown of a document: a card's head is for machines."""
    return text.removeprefix("---\n").split("\n---\n", 1)[1] if text.startswith("---\n") else text


@pytest.mark.parametrize("name", WRITTEN)
def test_markdown_shows_text_as_text(release: Path, name: str) -> None:
    rendered = MarkdownIt("commonmark", {"html": True}).enable("table").render(body((release / name).read_text()))
    found = Tags(rendered)
    assert not {"img", "script", "onerror", "em", "iframe"} & found.names()
    assert all(re.fullmatch(r"USAGE\.md|#[\w-]+", own["href"] or "") for tag, own in found.tags if tag == "a")
    assert not re.findall(r"<h2>[^<]*license: mit", rendered)


def test_the_card_has_one_head_whatever_is_in_a_text(release: Path) -> None:
    head, body = (release / "README.md").read_text().removeprefix("---\n").split("\n---\n", 1)
    told = yaml.safe_load(head)
    assert (told["license"], told["license_name"]) == ("other", " ".join(TEXT.split()))
    assert told["pipeline_tag"] == "image-classification"
    assert body.lstrip().startswith("# hostile")


def test_programs_in_python_hold_names_as_literals(release: Path) -> None:
    files = sorted((release / "examples").glob("*.py"))
    assert {file.stem for file in files} >= {"tflite", "tflite_int8-io", "keras", "saved_model", "serving_grpc"}
    for file in files:
        tree = ast.parse(file.read_text(), str(file))
        called = {
            node.func.id for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
        }
        assert not called & {"id", "alert", "eval", "exec"}
        texts = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)}
        assert file.stem == "serving_rest" or INPUT in texts


@pytest.mark.browser
def test_programs_for_node_hold_names_as_literals(release: Path) -> None:
    for file in (release / "examples").glob("*.mjs"):
        done = subprocess.run([programs.find_node(), "--check", file], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr


def test_pages_hold_no_other_tags_than_their_own(release: Path) -> None:
    pages = sorted((release / "examples").glob("*.html"))
    assert [page.stem for page in pages] == ["tfjs", "tfjs_layers", "tflite_float32-batch1"]
    for page in pages:
        text = page.read_text()
        scripts = len(re.findall("<script", text))
        assert scripts == len(re.findall("</script>", text)) == 2
        assert "<!--" not in text.partition("<head>")[2]
        assert not {"img", "onerror"} & Tags(text).names()


def test_a_signature_of_a_programs_name_has_a_folder_of_its_own() -> None:
    assert example.folder_of("tflite.py") == "examples/tflite%2Epy"


def test_requests_and_labels_are_json_of_the_names(release: Path) -> None:
    (folder,) = [path for path in (release / "examples").iterdir() if path.is_dir()]
    request: Any = json.loads((folder / "request.json").read_text())
    assert (request["signature_name"], [*request["inputs"]]) == (KEY, [INPUT])
    assert json.loads((release / "examples/labels.json").read_text()) == {OUTPUT: [IMAGE, TEXT]}


def test_kotlin_and_swift_hold_names_as_literals(release: Path) -> None:
    usage = (release / "USAGE.md").read_text()
    assert json.dumps(KEY).replace("$", "\\$") in usage
    assert quoting.swift(INPUT) in usage
    assert "\\\\(x)" in quoting.swift(INPUT)


def test_identifiers_are_distinct_and_no_keywords() -> None:
    made = mobile.identifiers(["serving_default", "servingDefault", "fun", "1 two", "日本", "<b>"])
    assert made["serving_default"] == "servingDefault"
    assert len(set(made.values())) == len(made)
    assert all(re.fullmatch("[a-z][A-Za-z0-9]*", name) for name in made.values())
    assert "fun" not in made.values()


@pytest.mark.parametrize("text", ["a | b", "`", "``x`", "", "<b>", "a\nb"])
def test_code_shows_the_text_itself_when_it_is_rendered(text: str) -> None:
    rendered = (
        MarkdownIt("commonmark", {"html": True}).enable("table").render(f"| x |\n| --- |\n| {quoting.code(text)} |\n")
    )
    shown = re.search(r"<td>\s*<code>(.*?)</code>", rendered)
    assert shown is not None
    assert Text(shown[1]).text.strip() == " ".join(text.split())


class Text(HTMLParser):
    """The text of HTML."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.text = ""
        self.feed(html)

    def handle_data(self, data: str) -> None:
        self.text += data
