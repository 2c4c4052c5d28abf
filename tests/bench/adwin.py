"""River's ADWIN on what the engine watches without texts, less tool names: what a team would write first."""

from collections.abc import Iterator

import numpy as np
from leeboard.pipelines.signals import CATEGORICAL, NUMERIC
from leeboard.schemas import FLAGS, GROUPS, NUMBERS, Observation
from river import drift

OUTPUT_TOKENS = NUMBERS.index("output_tokens")


class Adwins:
    """The detectors of one scope, one a signal, made at its first value."""

    def __init__(self) -> None:
        self._detectors: dict[int, drift.ADWIN] = {}
        #: the first value seen of each category: its share is what is watched
        self._first: dict[str, str] = {}

    def update(self, observation: Observation) -> bool:
        """Give every signal its value; did one of them find a change?"""
        found = False
        for k, value in enumerate(self._values(observation)):
            if value == value:
                detector = self._detectors.get(k)
                if detector is None:
                    detector = self._detectors[k] = drift.ADWIN()
                detector.update(value)
                found |= detector.drift_detected
        return found

    def _values(self, observation: Observation) -> Iterator[float]:
        """Numbers, quotients by tokens, flags, coverage, categories; NaN where not measured."""
        numbers = np.frombuffer(observation.numbers, "<f4").tolist()
        tokens = numbers[OUTPUT_TOKENS]
        for signal in NUMERIC:
            yield numbers[signal.column] / (max(tokens, 1.0) if signal.given_tokens else 1.0)
        for k in range(len(FLAGS)):
            flag = observation.flags >> 2 * k & 3
            yield flag - 1.0 if flag else np.nan
        for k in range(len(GROUPS)):
            yield observation.measured >> k & 1
        for signal in CATEGORICAL:
            value = observation.categories.get(signal.name)
            yield np.nan if value is None else value == self._first.setdefault(signal.name, value)
