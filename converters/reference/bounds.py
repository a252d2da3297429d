"""What the outputs of a variant are held to."""

from converters.contract.settings import Quality, Tolerance
from converters.contract.values import Frozen

NONSENSE = 10.0
"""An error of ten times the largest output: no rounding explains it, whatever the inputs."""


class Bounds(Frozen):
    """What outputs are held to.

    Of a `lossy` variant, which loses something on purpose, `quality` says how much it may lose where it is `limited`, as on
    a user's own data; `tolerance` then bounds its integer outputs too. Where it is the config's (`worst`), it bounds whatever
    the inputs are, and float outputs as well.
    `classifiers` are outputs that score classes, beside those that `scores_classes` knows.
    """

    tolerance: Tolerance
    quality: Quality = Quality()
    lossy: bool = False
    limited: bool = True
    worst: bool = False
    classifiers: tuple[str, ...] = ()

    def of_values(self, *, inexact: bool) -> float | None:
        """The limit of `values`; None for none."""
        if not inexact:
            return self.tolerance.mismatch if self.limited or self.worst or not self.lossy else None
        if self.lossy and not self.worst:
            return NONSENSE
        return self.tolerance.error

    def of_quality(self, rows: int) -> dict[str, float | None]:
        """The limits of fidelity's figures by the check's name; `rows` are how many samples the top class is of."""
        if self.lossy and not self.limited:
            return {}
        limits = {"snr": self.quality.snr_db, "cosine": self.quality.cosine}
        return {**limits, "top1": self.quality.top1} if rows >= self.quality.top1_samples else limits
