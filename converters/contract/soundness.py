"""How the weights, layers and grids of a lossy file stand to the model's."""

from converters.contract.values import Frozen, Prediction


class WeightError(Frozen):
    """How far a constant of a lossy file lies from the model's.

    `steps` is the largest distance of an element in steps of its own grid (for float16, the spacing of numbers there), of
    which rounding explains 0.5; infinite where the file has another shape, or none.
    """

    name: str
    steps: float


class LayerNoise(Frozen):
    """What a layer of a lossy file adds to its output, given the float graph's own inputs.

    `ratio` is the root mean square of that over what its number formats explain: a rounding to steps of s has the standard
    deviation s / sqrt(12) (Bennett, Spectra of quantized signals, 1948). Infinite where the layer computes another shape.
    """

    layer: str
    op: str
    ratio: float


class GridFit(Frozen):
    """How a grid of a lossy file stands to the model's own values: the share of its width by which they lie `beyond` it, and
    the share that they have `filled`."""

    name: str
    beyond: float
    filled: float


class Soundness(Frozen):
    """How the weights, layers and grids of a lossy file stand to those of the model it was made of.

    `problems` are differences of structure, a sentence each, such as an operator that is missing; `partly` says which loops
    and branches the model's values were not all seen of, and why.

    Where layers cannot be looked at one by one, `model` is what a file of the variant `lossless` computed for the inputs,
    which must be what the live model does, and `twin` what another did that holds the lossy file's own weights, which each
    runtime must make of the lossy file, both as exactly as that variant must be.
    """

    weights: list[WeightError] = []
    layers: list[LayerNoise] = []
    grids: list[GridFit] = []
    problems: list[str] = []
    partly: list[str] = []
    lossless: str | None = None
    model: Prediction | None = None
    twin: Prediction | None = None
