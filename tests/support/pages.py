"""The documentation as its readers have it: pages, their snippets, links and quoted sentences."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

from markdown_it import MarkdownIt
from markdown_it.token import Token

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"


class Snippet(NamedTuple):
    """A fenced block: where it begins, what it is said to be in, and its text."""

    page: str
    line: int
    language: str
    text: str

    @property
    def place(self) -> str:
        return f"{self.page}:{self.line}"


@cache
def pages() -> dict[str, str]:
    """Name -> text of each page, README first, then in the order of mkdocs.yml."""
    listed = re.findall(r": (\S+\.md)$", (ROOT / "mkdocs.yml").read_text(), re.MULTILINE)
    found = {"README.md": (ROOT / "README.md").read_text()}
    return found | {f"docs/{name}": (DOCS / name).read_text() for name in listed}


def _tokens(page: str) -> list[Token]:
    return MarkdownIt("commonmark").enable("table").parse(pages()[page])


def snippets(page: str) -> list[Snippet]:
    """The blocks of code of a page; one that is indented has no language."""
    return [
        Snippet(page, (token.map or [0])[0] + 1, token.info.strip(), token.content)
        for token in _tokens(page)
        if token.type in ("fence", "code_block")
    ]


def links(page: str) -> list[str]:
    """Where the links and pictures of a page lead."""
    found = []
    for token in _tokens(page):
        for child in token.children or ():
            if child.type in ("link_open", "image"):
                found.append(str(child.attrs.get("href", child.attrs.get("src"))))
    return found


def quoted(page: str) -> list[str]:
    """What a page quotes, a sentence in a quotation."""
    found, inside = [], False
    for token in _tokens(page):
        inside = (inside or token.type == "blockquote_open") and token.type != "blockquote_close"
        if inside and token.type == "inline":
            found.append(token.content)
    return found


@cache
def spoken() -> list[str]:
    """Every string of the code, with `\\0` in the place of what is put into it."""
    return [
        text
        for package in ("converters", "flows")
        for path in sorted((ROOT / package).rglob("*.py"))
        for text in _strings(ast.parse(path.read_text()))
    ]


def _strings(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        match node:
            case ast.JoinedStr(parts):
                yield "".join(str(part.value) if isinstance(part, ast.Constant) else "\0" for part in parts)
            case ast.Constant(str(text)):
                yield text


def says(sentence: str) -> bool:
    """Whether the code has a string of which this is what differs from time to time left out, as `…`."""
    wanted = ".*".join(re.escape(part) for part in sentence.split("…"))
    return any(re.search(wanted, text, re.DOTALL) for text in spoken())
