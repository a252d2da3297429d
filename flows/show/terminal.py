"""A terminal that shows what a model says as text: no escape of it reaches the cursor, no markup of it is markup."""

from collections.abc import Iterable
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from converters.contract import names


class Terminal(Console):
    """As Rich's, but for what is printed: unprintable characters are written as escapes, and brackets are no markup."""

    def __init__(self, **more: Any) -> None:
        super().__init__(highlight=False, markup=False, emoji=False, **more)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """The segments of what is printed; Rich's own control codes are segments apart."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(_shown(segment.text), segment.style)


def _shown(text: str) -> str:
    return text if text.isprintable() else "\n".join(map(names.shown, text.split("\n")))
