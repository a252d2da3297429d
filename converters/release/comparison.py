"""A new release against the one that was current: what has become of each figure, and what speaks against it."""

from typing import Literal

from converters.contract.values import Frozen, RowName

Figure = Literal["metric", "size", "latency", "error", "row"]


class Difference(RowName):
    """One figure of one row, in the current release and in the new one.

    `before` and `now` are in the figure's own unit: the metric's, bytes, milliseconds, or that of `values`. `change` is
    positive for worse: what the metric lost, or the share by which another figure grew (None from zero or to nothing).
    `refusal` is the sentence, where `change` is above `limit`.
    """

    figure: Figure
    before: float | None
    now: float | None
    change: float | None = None
    limit: float | None = None
    refusal: str | None = None


class Comparison(Frozen):
    """A new release against `version`, which was current when it was made.

    The contract is what callers rely on: signatures, with names, data types and shapes. `contract_changes` says what is other,
    a clause each, and `contract_refusal` why that speaks against the new release, where nobody accepted it.
    """

    version: int
    contract: Literal["same", "changed"] = "same"
    contract_changes: list[str] = []
    contract_refusal: str | None = None
    differences: list[Difference] = []

    def refusals(self) -> list[str]:
        """Why the new release must not take the current one's place, a sentence each."""
        found = [self.contract_refusal, *(d.refusal for d in self.differences)]
        return [sentence for sentence in found if sentence is not None]

    def worst(self, figure: Figure) -> Difference | None:
        """The row whose figure became worse by most."""
        changed = [d for d in self.differences if d.figure == figure and d.change is not None]
        return max(changed, key=lambda d: d.change or 0.0, default=None)

    def rows(self) -> list[dict[Figure, Difference]]:
        """What is known of each row, in order."""
        rows: dict[object, dict[Figure, Difference]] = {}
        for difference in self.differences:
            rows.setdefault(difference.identity, {})[difference.figure] = difference
        return list(rows.values())
