"""The signals that are watched: where each comes from, its unit, its floor, and its part of the evidence budget."""

import math
from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np
from leeboard.detectors import hash64
from leeboard.detectors.numeric.kernels import DITHER
from leeboard.schemas import FLAGS, GROUPS, NUMBERS

from .watch.settings import ChannelName, EngineSettings, SignalSettings
from .watch.texts.signals import SIGNALS as TEXT_SIGNALS

Kind = Literal["numeric", "binary", "categorical", "text"]
#: how an effect is measured: relative change, difference, or difference in standard deviations
Measure = Literal["relative", "difference", "sd"]
CHANNELS: tuple[ChannelName, ...] = get_args(ChannelName)
#: floor of a signal that never pages by itself
NEVER = math.inf


@dataclass(frozen=True, slots=True)
class Signal:
    """One signal. `floor` and `severe` are in the measure of its effect."""

    name: str
    channel: ChannelName
    kind: Kind
    #: shown to people
    unit: str
    floor: float
    measure: Measure = "difference"
    #: an increase of this size pages after few calls; None: never
    severe: float | None = None
    #: value that counts as 1 inside asinh
    scale: float = 1.0
    #: column of Observation.numbers, -1 where the value comes from elsewhere
    column: int = -1
    #: judged given the tokens of the call as well
    given_tokens: bool = False
    weight: float = 1.0
    #: the River detector that replaces ours
    river: str | None = None
    #: may it page by itself?
    pages: bool = True

    @property
    def logarithmic(self) -> bool:
        """Are values taken as logarithms?"""
        return self.measure == "relative"


def _relative(name: str, channel: ChannelName, unit: str, floor: float, source: str = "", scale: float = 1.0) -> Signal:
    return Signal(name, channel, "numeric", unit, floor, "relative", None, scale, NUMBERS.index(source or name))


#: three times the latency or the cost; 20 points more errors, refusals, truncated or empty answers
SEVERE_FACTOR, SEVERE_POINTS = 2.0, 0.20
NUMERIC = (
    _relative("input_tokens", "input", "tokens", 0.20),
    _relative("output_tokens", "output", "tokens", 0.20),
    _relative("reasoning_tokens", "output", "tokens", 0.20),
    _relative("tool_calls", "output", "calls", 0.20),
    replace(_relative("latency_ms", "latency", "ms", 0.20), severe=SEVERE_FACTOR),
    replace(_relative("ttft_ms", "latency", "ms", 0.20), severe=SEVERE_FACTOR),
    replace(_relative("latency_given_tokens", "latency", "ratio", 0.20, "latency_ms"), given_tokens=True),
    replace(_relative("cost_usd", "cost", "USD", 0.15, scale=1e-6), severe=SEVERE_FACTOR),
    replace(_relative("cost_given_tokens", "cost", "ratio", 0.15, "cost_usd", 1e-6), given_tokens=True),
    Signal("cached_share", "cost", "numeric", "share", 0.10, column=NUMBERS.index("cached_share")),
    Signal("relevance", "output", "numeric", "cosine", 0.2, "sd", column=NUMBERS.index("relevance")),
    Signal("repetition", "quality", "numeric", "share", 0.05, column=NUMBERS.index("repetition")),
)
#: those of FLAGS, in its order, then one for every field group
BINARY = (
    Signal("error", "error", "binary", "share", 0.01, severe=SEVERE_POINTS),
    Signal("truncated", "quality", "binary", "share", 0.01, severe=SEVERE_POINTS),
    Signal("empty", "quality", "binary", "share", 0.01, severe=SEVERE_POINTS),
    Signal("refusal", "quality", "binary", "share", 0.01, severe=SEVERE_POINTS),
    # no severe floor: those are for increases, and here a decrease is bad
    Signal("json_valid", "quality", "binary", "share", 0.01),
    Signal("coverage.vectors", "coverage", "binary", "share", NEVER),
    *(Signal(f"coverage.{group}", "coverage", "binary", "share", NEVER) for group in GROUPS),
)
#: what served a call and what shaped it; `model_requested`, `app_version` and `sample_rate` are labels only
IDENTITY = (
    "provider",
    "model_served",
    "system_fingerprint",
    "prompt_version",
    "system_hash",
    "tools_hash",
    "params_hash",
    # what measured the texts; a change of it is a new baseline for their signals (see `texts`)
    "embedder",
    "text_version",
)
#: channels that give an incident its context: alone they are notices, and they keep no incident open
CONTEXT: tuple[ChannelName, ...] = ("identity", "coverage")
CATEGORICAL = (
    Signal("finish_reason", "output", "categorical", "share", 0.05),
    Signal("tool_names", "output", "categorical", "share", 0.05),
    Signal("error_type", "error", "categorical", "share", 0.01, severe=SEVERE_POINTS),
    Signal("input_language", "input", "categorical", "share", 0.05),
    Signal("output_language", "output", "categorical", "share", 0.05),
    *(Signal(name, "identity", "categorical", "share", NEVER) for name in IDENTITY),
)
#: inputs and features do not page: in traffic whose topics come in runs, a topic that a young scope has not met yet
#: reaches any level though nothing changes (docs/BENCHMARKS.md, texts)
TEXT_FLOOR = 0.2
TEXT = (
    Signal("output_features", "output", "text", "sd", TEXT_FLOOR, "sd", pages=False),
    Signal("output_style", "output", "text", "sd", TEXT_FLOOR, "sd"),
    Signal("output_given_input", "output", "text", "sd", TEXT_FLOOR, "sd"),
    Signal("input_features", "input", "text", "sd", TEXT_FLOOR, "sd", pages=False),
    Signal("input_content", "input", "text", "sd", TEXT_FLOOR, "sd", pages=False),
)
assert tuple(signal.name for signal in TEXT) == TEXT_SIGNALS
#: score signals of one scope that are told apart, numeric and categorical; later ones are counted and left out
MAX_SCORES = 8
MAX_CATEGORICAL_SCORES = 4
SCORE = Signal("score", "quality", "numeric", "score", 0.2, "sd")
#: units of signals whose effects are told in standard deviations
UNITS_IN_SD = frozenset(signal.unit for signal in (*NUMERIC, *TEXT, SCORE) if signal.measure == "sd")
CATEGORICAL_SCORE = Signal("score", "quality", "categorical", "share", 0.05)

FLAG_COLUMNS = len(FLAGS)
NUMERIC_COLUMNS = len(NUMERIC) + MAX_SCORES
CATEGORICAL_COLUMNS = len(CATEGORICAL) + MAX_CATEGORICAL_SCORES


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
