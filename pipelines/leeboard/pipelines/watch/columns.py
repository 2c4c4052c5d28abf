"""The signals as configured, and their constants as arrays for the kernel."""

import math
from dataclasses import replace

import numpy as np
from leeboard.detectors import hash64
from leeboard.detectors.numeric.kernels import DITHER
from leeboard.pipelines.signals import (
    BINARY,
    CATEGORICAL,
    CATEGORICAL_SCORE,
    CHANNELS,
    MAX_CATEGORICAL_SCORES,
    MAX_SCORES,
    NUMERIC,
    SCORE,
    TEXT,
    Signal,
)
from leeboard.pipelines.watch.settings import EngineSettings, SignalSettings


def dither(signal: Signal) -> float:
    """Half width of the noise on transformed values: an eighth of the floor, so that far smaller moves stay silent.

    Values judged given the tokens get twice as much: what the regression has still to learn must not count as a move.
    """
    if signal.measure == "sd" or signal.floor > 1.0:
        return DITHER
    floor = math.log1p(signal.floor) if signal.logarithmic else signal.floor
    return max(DITHER, floor / (4.0 if signal.given_tokens else 8.0))


class Signals:
    """The signals as configured, and their constants as arrays for the kernel (one entry for every column)."""

    def __init__(self, settings: EngineSettings) -> None:
        self._settings = settings
        self.numeric = tuple(self.configured(signal) for signal in NUMERIC)
        self.binary = tuple(self.configured(signal) for signal in BINARY)
        self.categorical = tuple(self.configured(signal) for signal in CATEGORICAL)
        self.text = tuple(self.configured(signal) for signal in TEXT)
        weights = np.array([getattr(settings.channels, channel) for channel in CHANNELS])
        self.channel_weights = weights / weights.sum()
        numeric = [*self.numeric, *[SCORE] * MAX_SCORES]
        self.numeric_channels = np.array([CHANNELS.index(s.channel) for s in numeric])
        self.numeric_weights = np.array([s.weight for s in numeric])
        self.numeric_logarithmic = np.array([s.logarithmic for s in numeric])
        self.numeric_dithers = np.array([dither(s) for s in numeric])
        self.numeric_given = np.array([s.given_tokens for s in numeric])
        self.numeric_salts = np.array([hash64(s.name) for s in numeric], np.uint64)
        self.binary_channels = np.array([CHANNELS.index(s.channel) for s in self.binary])
        self.binary_weights = np.array([s.weight for s in self.binary])
        self.binary_salts = np.array([hash64(s.name) for s in self.binary], np.uint64)
        categorical = [*self.categorical, *[CATEGORICAL_SCORE] * MAX_CATEGORICAL_SCORES]
        self.categorical_channels = np.array([CHANNELS.index(s.channel) for s in categorical])
        self.categorical_weights = np.array([s.weight for s in categorical])
        self.categorical_salts = np.array([hash64(s.name) for s in categorical], np.uint64)
        self.text_channels = np.array([CHANNELS.index(s.channel) for s in self.text])
        self.text_weights = np.array([s.weight for s in self.text])

    def configured(self, signal: Signal) -> Signal:
        """A signal with the floor, weight and detector of its section; `weight` 0 where it is switched off."""
        own = self._settings.signals.get(signal.name, SignalSettings())
        return replace(
            signal,
            weight=own.weight if own.enabled and self._channel_weight(signal) > 0 else 0.0,
            floor=signal.floor if own.floor is None else own.floor,
            severe=signal.severe if own.severe is None else own.severe,
            river=own.detector.removeprefix("river:") if own.detector else None,
        )

    def score(self, name: str, *, categorical: bool) -> Signal:
        """The signal of a score, `score.<evaluator>.<name>`."""
        return self.configured(replace(CATEGORICAL_SCORE if categorical else SCORE, name=name))

    def _channel_weight(self, signal: Signal) -> float:
        return float(getattr(self._settings.channels, signal.channel))
