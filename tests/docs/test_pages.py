"""The documentation is whole, true to the code, and builds to pages that ask no other host."""

import importlib.util
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import mutants
import mutations
import pages
import pytest
import yaml
from pages import DOCS, ROOT
from programs_run import look

from converters.config.spec import ModelSpec
from converters.contract import layout

LANGUAGES = {"sh", "python", "yaml", "json", "text", "js", "html", "kotlin", "swift"}
CODE = subprocess.run(
    ["git", "grep", "-hoE", r"\b(FANOUT|fanout)_[A-Z_]+[A-Z]\b", "--", "converters", "flows"],
    capture_output=True, text=True, cwd=ROOT, check=True,
).stdout  # fmt: skip


@pytest.fixture(scope="module")
def generate() -> ModuleType:
    """docs/generate.py."""
    spec = importlib.util.spec_from_file_location("generate", DOCS / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_readme_is_short() -> None:
    assert len(pages.pages()["README.md"].splitlines()) <= 150


def test_every_page_is_in_the_navigation() -> None:
    assert {f"docs/{path.relative_to(DOCS)}" for path in DOCS.rglob("*.md")} == set(pages.pages()) - {"README.md"}


@pytest.mark.parametrize("page", pages.pages())
def test_every_snippet_says_what_it_is_in(page: str) -> None:
    assert [snippet.place for snippet in pages.snippets(page) if snippet.language not in LANGUAGES] == []


@pytest.mark.parametrize("page", pages.pages())
def test_every_snippet_of_json_is_a_document(page: str) -> None:
    for snippet in pages.snippets(page):
        if snippet.language == "json":
            json.loads(snippet.text)


def test_links_of_the_readme_lead_somewhere() -> None:
    for link in pages.links("README.md"):
        path, _, _ = link.partition("#")
        assert (ROOT / path).exists(), link


def test_what_is_generated_is_as_the_code_is(generate: ModuleType) -> None:
    stale = [page.name for page in generate.pages() if generate.written(page.read_text()) != page.read_text()]
    assert stale == [], "`make docs` writes them"


def test_generated_parts_follow_the_code(generate: ModuleType) -> None:
    assert generate.PARTS.keys() == {
        found[2] for page in generate.pages() for found in generate.MARKED.finditer(page.read_text())
    }
    stale = "before\n<!-- generated: environment -->\nwhat was true once\n<!-- end -->\nafter"
    written = generate.written(stale)
    assert "what was true once" not in written
    assert "FANOUT_RELEASES" in written
    assert written.startswith("before\n")
    assert written.endswith("\nafter")


def test_every_key_of_a_config_is_told(generate: ModuleType) -> None:
    text = generate.config()
    for name in ModelSpec.model_fields:
        assert f"| `{name}` |" in text or name in ("base", "name")
    silent = [line for line in text.splitlines() if re.fullmatch(r"\| `.*(?<!\\)\| *\|", line)]
    assert silent == []


def test_the_example_of_a_config_has_every_key() -> None:
    (example,) = (s for s in pages.snippets("docs/reference/config.md") if s.language == "yaml")
    assert set(yaml.safe_load(example.text)) == set(ModelSpec.model_fields) - {"base", "name"}


def test_every_variable_is_told() -> None:
    told = pages.pages()["docs/reference/environment.md"]
    assert [name for name in sorted(set(CODE.split())) if name not in told] == []


def test_every_file_of_a_release_is_told() -> None:
    told = pages.pages()["docs/reference/release.md"]
    named = [Path(value).name for name, value in vars(layout).items() if name.isupper()]
    assert len(named) > 15
    assert [name for name in named if name not in told] == []


def test_every_kind_of_mutation_is_told() -> None:
    belief = pages.pages()["docs/explanation/belief.md"]
    told = set(re.findall(r"^\| ([a-z' ]+) \| [^|`]+ \|(?:[ \d]+(?:of \d+)? \||  \|){5}", belief, re.MULTILINE))
    source = (ROOT / "tests" / "support" / "mutations.py").read_text()
    made = set(re.findall(r'(?:Mutation|edit)\(\s*"([^"]+)"', source)) | set(mutations._ON_VALUES)
    assert len(told) > 20
    assert told <= made | mutants.COMPUTING
    rare = {"wrong shard", "weights dropped", "layer order changed", "asset changed"}
    assert made - told == rare & made


def test_every_sentence_that_is_quoted_is_said() -> None:
    quoted = pages.quoted("docs/troubleshooting.md")
    assert len(quoted) > 30
    assert [sentence for sentence in quoted if not pages.says(sentence)] == []


def test_a_sentence_that_nothing_says_is_found_out() -> None:
    assert not pages.says("… is no SavedModel: it holds no such thing")
    assert pages.says("… is no SavedModel: it holds no saved_model.pb")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pages, built as `make docs` does."""
    folder = tmp_path_factory.mktemp("site")
    done = build(ROOT, folder)
    assert done.returncode == 0, done.stderr
    return folder


def build(checkout: Path, folder: Path) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "mkdocs", "build", "--site-dir", str(folder)]
    return subprocess.run(command, cwd=checkout, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("link", ["how-to/nowhere.md", "tutorial.md#nowhere", "#nowhere"])
def test_pages_are_not_built_when_a_link_leads_nowhere(link: str, tmp_path: Path) -> None:
    shutil.copytree(DOCS, tmp_path / "docs")
    shutil.copy(ROOT / "mkdocs.yml", tmp_path)
    with (tmp_path / "docs" / "index.md").open("a") as page:
        page.write(f"\n[away]({link})\n")
    assert build(tmp_path, tmp_path / "site").returncode != 0


@pytest.mark.parametrize("page", ["index", "tutorial", "reference/config", "explanation/belief"])
def test_built_page_is_read_at_any_width_and_by_everyone(site: Path, page: str) -> None:
    settled = ["evaluate", "settled", "new Promise((done) => setTimeout(done, 1500))"]  # the theme fades things in
    width = "document.documentElement.scrollWidth"
    found = look(
        (site / f"{page}.html").as_uri(), settled, ["axe"], ["evaluate", "wide", width], ["dark", True], settled, ["axe"],
        ["size", 390, 800], settled, ["axe"], ["evaluate", "narrow", width],
    )  # fmt: skip
    assert (found["violations"], found["thrown"], found["foreign"]) == ([], [], [])
    assert (found["wide"], found["narrow"]) == (1400, 390)


def test_pages_ask_no_other_host_when_built(site: Path) -> None:
    built = sorted(site.rglob("*.html"))
    assert len(built) >= len(pages.pages()) - 1
    asked = re.compile(r"""<(?:script|link|img|iframe|source)\b[^>]*?(?:src|href)=["']?(?:https?:)?//""")
    assert [f"{path.name}: {found[0]}" for path in built for found in asked.finditer(path.read_text())] == []
    assert not list(site.rglob("*.py"))
