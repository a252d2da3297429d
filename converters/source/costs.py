"""What the live model's calls cost, and how many samples are drawn of one whose calls cost much."""

import logging
from collections.abc import Sequence

from converters.contract.errors import raised
from converters.contract.settings import GoldenSpec
from converters.contract.values import Tensors
from converters.formats.flat import Flat
from converters.reference import cost, drawing
from converters.source.live import Endpoint, Live

LITTLE = 1 << 28
"""Work that costs nobody anything, so that a graph need not be looked at."""
DRAWN = 3 << 33
"""Work of golden's samples together, where nobody gave them: 80 of MobileNetV2, two of a network that makes an image of
256 x 256 pixels larger. Each target's runtimes do as much once or twice, and calibrating does."""
FEWEST = 2
_MOST_BYTES = 1 << 30
"""Of weights: beyond 2 GiB a graph cannot hold them as constants."""


class Costs:
    """Of a live model's endpoints; each graph is looked at once, where it is at all."""

    def __init__(self, live: Live) -> None:
        weights = live.weights().values()
        self._weights = sum(int(value.size) for value in weights)
        self._bytes = sum(int(value.nbytes) for value in weights)
        self._flat: dict[str, Flat | None] = {}
        self._known: dict[tuple[str, tuple[tuple[int, ...], ...]], int] = {}

    def of_call(self, endpoint: Endpoint, inputs: Tensors) -> int | None:
        """Its work (`cost.work`); None where the graph cannot be looked at."""
        if (most := cost.most(self._weights, inputs)) <= LITTLE:
            return most
        key = (endpoint.key, tuple(value.shape for value in inputs.values()))
        if key not in self._known:
            flat = self._flat_of(endpoint)
            try:
                work = cost.work(flat, inputs) if flat is not None else None
            except Exception as error:  # of a session's graph, or shapes that only its values tell
                _log(endpoint, error)
                work = None
            if work is None:
                return None
            self._known[key] = work
        return self._known[key]

    def hollow(self, endpoint: Endpoint, inputs: Tensors) -> bool:
        """Whether nothing is left of such inputs within the model (`cost.hollow`), as far as its graph can be looked at."""
        flat = self._flat_of(endpoint)
        try:
            return flat is not None and cost.hollow(flat, inputs)
        except Exception as error:  # shapes that only values tell
            _log(endpoint, error)
            return False

    def of_calls(self, endpoint: Endpoint, calls: Sequence[Tensors]) -> list[int]:
        """Of each, after which the graph is forgotten; nothing where one is not known."""
        works = [self.of_call(endpoint, inputs) for inputs in calls]
        self._flat.pop(endpoint.key, None)
        return [work for work in works if work is not None] if None not in works else []

    def fewer(self, endpoint: Endpoint, spec: GoldenSpec) -> int | None:
        """How many samples golden has where the usual number costs too much; None where it does not, or the config says."""
        if spec.samples is not None:
            return None
        batch = 1 if endpoint.signature.dynamic_batch else 0
        (one,) = drawing.draw_calls(endpoint.signature, spec, {}, drawing.Plan(), [batch])
        work = self.of_call(endpoint, one)
        if work is None or work * drawing.SAMPLES <= DRAWN:
            return None
        return max(FEWEST, DRAWN // work)

    def _flat_of(self, endpoint: Endpoint) -> Flat | None:
        if endpoint.key not in self._flat:
            try:
                self._flat[endpoint.key] = endpoint.flat() if self._bytes <= _MOST_BYTES else None
            except Exception as error:  # what a session runs cannot be frozen for many reasons
                _log(endpoint, error)
                self._flat[endpoint.key] = None
        return self._flat[endpoint.key]


def _log(endpoint: Endpoint, error: Exception) -> None:
    logging.getLogger(__name__).warning("signatures.%s: its cost is not known: %s", endpoint.key, raised(error, 200))
