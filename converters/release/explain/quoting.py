"""Text of a model as a literal, a comment or plain text of each language that it is put into: it is never more than text there."""

import html
import json
import re
import shlex
import textwrap
from collections.abc import Iterable, Sequence
from urllib.parse import quote

import yaml
from markupsafe import Markup

from converters.contract.values import Scale

_MARKDOWN = re.compile(r"[\\`*_\[\]<>&|~#]")
_LIST = re.compile(r"^(\d*)([-+.)=])")
"""What begins a list, a heading or a rule, at the start of a line."""


def one_line(text: str) -> str:
    """The text with every run of spaces and of what is not printed as one space."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def markdown(text: str) -> str:
    """Plain text of Markdown (CommonMark 0.31, 2.4: any ASCII punctuation may be escaped; < and & are HTML's)."""
    escaped = _MARKDOWN.sub(
        lambda found: html.escape(found[0]) if found[0] in "<>&" else f"\\{found[0]}", one_line(text)
    )
    return _LIST.sub(r"\1\\\2", escaped)


def code(text: str) -> str:
    """A code span of Markdown, in a table too: a bar is written as HTML has it, for GitHub's tables know no other."""
    plain = one_line(text)
    if "|" in plain:
        escaped = "".join(c if c.isalnum() or c == " " else f"&#{ord(c)};" for c in plain)
        return f"<code>{escaped}</code>"
    ticks = "`" * (_longest_run(plain) + 1)
    pad = " " if plain.startswith("`") or plain.endswith("`") or not plain else ""
    return f"{ticks}{pad}{plain}{pad}{ticks}"


def fenced(text: str, language: str) -> str:
    """A block of code of Markdown, fenced by more backticks than are in it."""
    ticks = "`" * max(3, _longest_run(text) + 1)
    return f"{ticks}{language}\n{text.rstrip()}\n{ticks}"


def _longest_run(text: str) -> int:
    return max((len(run) for run in re.findall("`+", text)), default=0)


def javascript(value: object) -> Markup:
    """A literal of JavaScript, in a script of an HTML page too: nothing in it ends the script (HTML, 4.12.1.3)."""
    return Markup(json.dumps(value).replace("<", "\\u003c").replace(">", "\\u003e"))


def javascript_comment(text: str) -> Markup:
    """What may follow // in a script of an HTML page."""
    return Markup(one_line(text).replace("<", "\\u003c"))


def kotlin(text: str) -> str:
    """A string literal of Kotlin, in which a dollar begins a template."""
    return json.dumps(text).replace("$", "\\$")


def swift(text: str) -> str:
    """A string literal of Swift, in which a backslash and a parenthesis begin an interpolation."""
    return '"' + "".join(f"\\{c}" if c in '\\"' else c if c.isprintable() else f"\\u{{{ord(c):x}}}" for c in text) + '"'


def python(value: object) -> str:
    """A literal of Python, as its formatters write them: a text of JSON is one."""
    return json.dumps(value, ensure_ascii=False) if isinstance(value, str) else repr(value)


def shell(text: str) -> str:
    """A word of a POSIX shell."""
    return shlex.quote(text)


def url(path: str) -> str:
    """A relative path as a part of a URL."""
    return quote(path)


def as_yaml(value: object) -> str:
    """A document of YAML; texts are of one line each, so that no line of theirs ends what the document is in."""
    return str(yaml.safe_dump(_flat(value), sort_keys=False, allow_unicode=True, width=10_000)).rstrip()


def _flat(value: object) -> object:
    if isinstance(value, str):
        return one_line(value)
    if isinstance(value, dict):
        return {key: _flat(each) for key, each in value.items()}
    return [_flat(each) for each in value] if isinstance(value, list | tuple) else value


def indented(text: str, by: int) -> str:
    """Every line moved to the right."""
    return textwrap.indent(text, " " * by)


def number_of(scale: Scale, integer: str) -> str:
    """What an integer stands for, as an expression: (q + 128) * 0.00390625."""
    sign, zero = ("-", scale.zero_point) if scale.zero_point >= 0 else ("+", -scale.zero_point)
    return f"({integer} {sign} {zero}) * {scale.scale:.9g}"


def normalized(mean: Sequence[float], std: Sequence[float]) -> str:
    """(raw - 127.5) / 60, or with a list for each where channels have their own."""
    each = (", ".join(f"{number:.9g}" for number in numbers) for numbers in (mean, std))
    taken, by = (f"[{text}]" if "," in text else text for text in each)
    return f"(raw - {taken}) / {by}"


def anchor(title: str) -> str:
    """Where a heading of Markdown is linked to on GitHub and model hubs."""
    return re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")


def listed(words: Iterable[str]) -> str:
    """a, b and c."""
    *first, last = list(words) or [""]
    return " and ".join(filter(None, (", ".join(first), last)))


FILTERS = {
    "line": one_line, "md": markdown, "code": code, "fenced": fenced, "js": javascript, "js_comment": javascript_comment,
    "kotlin": kotlin, "swift": swift, "py": python, "sh": shell, "url": url, "yaml": as_yaml, "anchor": anchor, "listed": listed,
}  # fmt: skip
"""For Jinja."""
