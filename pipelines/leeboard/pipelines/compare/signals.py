"""What is compared: every signal of the two sides with its scale, its floor and the direction that is better."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from leeboard.schemas import NO_ERROR, NUMBERS
from leeboard.schemas.call import LARGEST

from ..arrays import FloatArray
from ..signals import BINARY, BY_NAME, NUMERIC, Better, ChannelName, Signal
from .columns import Side, TextColumn
from .result import CompareSettings, EffectKind, Floors
from .tokens import given_tokens

Scale = Literal["log", "linear", "yes_no", "categorical"]

#: e to this power is more tokens, milliseconds or dollars than there are, and more than any ratio
LARGEST_LOG = 100.0
#: a label with more values than this names calls, not versions
MOST_IDENTITIES = 50
_YES = frozenset({"yes", "true", "pass", "passed", "1"})
_NO = frozenset({"no", "false", "fail", "failed", "0"})
EFFECT_KINDS: dict[Scale, EffectKind] = {
    "log": "ratio",
    "linear": "difference",
    "yes_no": "difference",
    "categorical": "distance",
}


@dataclass(frozen=True, slots=True)
class ComparedSignal:
    """One quantity on both sides."""

    name: str
    channel: ChannelName
    unit: str
    scale: Scale
    better: Better
    #: smallest effect that matters: relative for `log`, else in the unit of the effect
    floor: float
    #: shapes (n_base,) and (n_candidate,), NaN = not measured; 0 and 1 for `yes_no`, positions in `categories` for
    #: `categorical`
    base: FloatArray
    candidate: FloatArray
    offset: float = 0.0
    #: for a comparison at equal tokens: see `tokens.given_tokens`
    given: tuple[FloatArray, FloatArray] | None = None
    categories: tuple[str, ...] = ()

    def logarithm(self, values: FloatArray) -> FloatArray:
        """Put `values` on the scale on which means are taken."""
        return np.log(values + self.offset) if self.scale == "log" else values

    def amount(self, mean: float) -> float | None:
        """Give a mean of `logarithm` in the signal's unit; None where it is too large to be one."""
        if self.scale != "log":
            return mean
        return max(math.exp(mean) - self.offset, 0.0) if mean < LARGEST_LOG else None


def signals(base: Side, candidate: Side, settings: CompareSettings) -> list[ComparedSignal]:
    """List every signal that was measured on either side, in a fixed order."""
    found = [
        *_numbers(base, candidate, settings.floors),
        *_flags(base, candidate, settings.floors),
        *_scores(base, candidate, settings),
        *_categories(base, candidate, settings.floors),
    ]
    return [s for s in found if s.given is not None or np.isfinite(s.base).any() or np.isfinite(s.candidate).any()]


def _numbers(base: Side, candidate: Side, floors: Floors) -> Iterator[ComparedSignal]:
    for name in NUMBERS:
        columns = base.numbers[name], candidate.numbers[name]
        for signal in (signal for signal in NUMERIC if signal.field == name):
            if not signal.given_tokens:
                yield _number(signal, columns, floors)
            elif (given := given_tokens(base, candidate, columns)) is not None:
                yield _number(signal, columns, floors, given)


def _number(
    signal: Signal,
    columns: tuple[FloatArray, FloatArray],
    floors: Floors,
    given: tuple[FloatArray, FloatArray] | None = None,
) -> ComparedSignal:
    if given is not None:
        known = [np.isfinite(tokens).all(axis=1) for tokens in given]
        columns = np.where(known[0], columns[0], np.nan), np.where(known[1], columns[1], np.nan)
    return ComparedSignal(
        signal.name,
        signal.channel,
        # at equal tokens the means of both sides are in the unit of the number itself
        BY_NAME[signal.field].unit,
        "log" if signal.logarithmic else "linear",
        signal.better,
        _floor(signal, floors),
        *columns,
        offset=signal.scale if signal.logarithmic else 0.0,
        given=given,
    )


def _floor(signal: Signal, floors: Floors) -> float:
    assert signal.compared_floor is not None, signal.name
    floor: float = getattr(floors, signal.compared_floor)
    return floor


def _flags(base: Side, candidate: Side, floors: Floors) -> Iterator[ComparedSignal]:
    for signal in BINARY:
        if signal.source == "flag" and signal.compared_floor is not None:
            columns = base.flags[signal.field], candidate.flags[signal.field]
            floor = _floor(signal, floors)
            yield ComparedSignal(signal.name, signal.channel, signal.unit, "yes_no", signal.better, floor, *columns)


def _scores(base: Side, candidate: Side, settings: CompareSettings) -> Iterator[ComparedSignal]:
    sides = base.calls, candidate.calls
    for name in sorted({name for calls in sides for call in calls for name in call.scores}):
        values = [[call.scores.get(name) for call in calls] for calls in sides]
        short = name.rpartition(".")[2]
        better: Better = "lower" if {name, short} & set(settings.lower_is_better) else "higher"
        numbers = [value for side in values for value in side if isinstance(value, float | int)]
        texts = [value for side in values for value in side if isinstance(value, str)]
        known = "score." + name
        if texts and (numbers or not {text.lower() for text in texts} <= _YES | _NO):
            words: list[TextColumn] = [[None if value is None else str(value) for value in side] for side in values]
            yield _categorical(known, "quality", words[0], words[1], settings.floors)
            continue
        columns = [np.array([_number_of(value) for value in side], np.float64) for side in values]
        sd = settings.floors.score_sd * spread(columns[0], columns[1])
        if texts or set(numbers) <= {0, 1}:
            floor = settings.floors.error if short == "refusal" else max(sd, settings.floors.error)
            yield ComparedSignal(known, "quality", "share", "yes_no", better, floor, columns[0], columns[1])
        else:
            yield ComparedSignal(known, "quality", "", "linear", better, sd, columns[0], columns[1])


def _number_of(value: float | str | None) -> float:
    if value is None:
        return math.nan
    if isinstance(value, str):
        return float(value.lower() in _YES)
    return float(value) if abs(value) <= LARGEST else math.nan


def _categories(base: Side, candidate: Side, floors: Floors) -> Iterator[ComparedSignal]:
    """What calls are like, and what served them: names that are no signals are identity labels."""
    names = {name for side in (base, candidate) for call in side.calls for name in call.categories}
    for name in sorted(names | {"error_type", "tool_names"}):
        channel = BY_NAME[name].channel if name in BY_NAME else "identity"
        signal = _categorical(name, channel, _texts(base, name), _texts(candidate, name), floors)
        if channel != "identity" or len(signal.categories) <= MOST_IDENTITIES:
            yield signal


def _texts(side: Side, name: str) -> TextColumn:
    """Read the category of each call: "none" is the error type of successes, and the tools of calls that used none."""
    if name == "tool_names":
        known = np.isfinite(side.numbers["tool_calls"])
        return [
            (", ".join(sorted(set(call.tools))) or "none") if measured else None
            for call, measured in zip(side.calls, known, strict=True)
        ]
    texts = [call.categories.get(name) for call in side.calls]
    if name == "error_type":
        implied = {0.0: NO_ERROR, 1.0: "unknown"}
        return [text or implied.get(flag) for text, flag in zip(texts, side.flags["error"].tolist(), strict=True)]
    if name == "finish_reason":
        return [None if failed else text for text, failed in zip(texts, side.failed, strict=True)]
    return texts


def _categorical(
    name: str, channel: ChannelName, base: TextColumn, candidate: TextColumn, floors: Floors
) -> ComparedSignal:
    values = tuple(sorted({text for text in base + candidate if text is not None}))
    position = {value: float(k) for k, value in enumerate(values)}
    columns = [np.array([math.nan if text is None else position[text] for text in side]) for side in (base, candidate)]
    first, second = columns
    floor = _floor(BY_NAME[name], floors) if name in BY_NAME else floors.share
    return ComparedSignal(name, channel, "share", "categorical", None, floor, first, second, categories=values)


def spread(base: FloatArray, candidate: FloatArray) -> float:
    """Estimate the standard deviation within a side, from both, of what was measured; 0 where nothing varies."""
    measured = [column[np.isfinite(column)] for column in (base, candidate)]
    squares = sum(float(np.sum((column - column.mean()) ** 2)) for column in measured if len(column))
    freedom = sum(max(len(column) - 1, 0) for column in measured)
    return math.sqrt(squares / freedom) if freedom else 0.0
