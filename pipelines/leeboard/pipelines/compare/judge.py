"""From effects to verdicts: one family of tests, floors, and the exit status."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from msgspec.structs import replace
from scipy import optimize

from ..signals import GIVEN_TOKENS
from . import words
from .fits import ComparedEffect, fewest_p
from .result import FAMILY_ERROR, CategoryShift, ComparedVerdict, SignalComparison
from .signals import EFFECT_KINDS, LARGEST_LOG, ComparedSignal

#: what "so many times as many calls" is searched up to
MOST_GROWTH = 1e9
#: and from: an exact test asks for a little more than its interval
LEAST_GROWTH = 1.25
#: categories named, those that moved most
NAMED_CATEGORIES = 5


@dataclass(frozen=True, slots=True)
class Measured:
    """A signal and what was estimated of it."""

    signal: ComparedSignal
    n_base: int
    n_candidate: int
    before: float | None = None
    after: float | None = None
    #: None: one side has too few calls for any estimate
    effect: ComparedEffect | None = None
    #: number of pairs; 0: not paired
    pairs: int = 0


def judge_signals(measured: Sequence[Measured]) -> list[SignalComparison]:
    """Decide on all signals together; results in the given order."""
    adjusted, levels = holm([None if m.effect is None else m.effect.p_value for m in measured])
    return [_signal(m, p, level) for m, p, level in zip(measured, adjusted, levels, strict=True)]


def holm(p_values: Sequence[float | None]) -> tuple[list[float | None], list[float]]:
    """Adjust p-values and give the level at which each was judged (Holm, Scandinavian Journal of Statistics 6, 1979).

    The i-th smallest of m p-values is judged at FAMILY_ERROR / (m - i + 1), and testing stops at the first that is
    larger: the probability that any signal without a difference is called different is at most FAMILY_ERROR, whatever
    their dependence. None (nothing varies, so whatever the labels of the sides, nothing could be found) is no member.
    A signal's interval has the level at which it was judged, so that it agrees with the verdict. The intervals of the
    signals not called different hold all together, with what is said of the others, at 95 % (Strassburger, Bretz,
    Statistics in Medicine 27, 2008); the intervals of those called different hold one by one, at their own level.
    """
    known = sorted((p, k) for k, p in enumerate(p_values) if p is not None)
    adjusted: list[float | None] = [None] * len(p_values)
    worst = 0.0
    for i, (p, k) in enumerate(known):
        worst = max(worst, min(p * (len(known) - i), 1.0))
        adjusted[k] = worst
    rejected = sum(p is not None and p <= FAMILY_ERROR for p in adjusted)
    levels = [FAMILY_ERROR / max(len(known) - rejected, 1)] * len(p_values)
    for i, (_, k) in enumerate(known[:rejected]):
        levels[k] = FAMILY_ERROR / (len(known) - i)
    return adjusted, levels


def overall(
    compared: Sequence[SignalComparison], signals: Sequence[ComparedSignal]
) -> tuple[ComparedVerdict, Literal[0, 1, 3]]:
    """Decide on the whole: verdict and exit status.

    Something measured must have a better direction; an adjusted signal at equal tokens is not enough, since the price
    of a token says nothing about how slow, dear or good the calls are.
    """
    verdicts = {signal.verdict for signal in compared}
    directed = {c.verdict for c, s in zip(compared, signals, strict=True) if s.better and s.name not in GIVEN_TOKENS}
    if "worse" in verdicts:
        return "worse", 1
    if not directed - {"too_few_calls"}:
        return "too_few_calls", 3
    for verdict in ("better", "changed"):
        if verdict in verdicts:
            return verdict, 0
    return "no_difference_shown", 0


def _signal(m: Measured, p_adjusted: float | None, level: float) -> SignalComparison:
    compared = SignalComparison(
        name=m.signal.name,
        channel=m.signal.channel,
        unit=m.signal.unit,
        verdict="too_few_calls",
        sentence="",
        n_base=m.n_base,
        n_candidate=m.n_candidate,
        before=m.before,
        after=m.after,
        effect_kind=EFFECT_KINDS[m.signal.scale],
        paired=m.pairs > 0,
        pairs=m.pairs,
        floor=m.signal.floor,
        categories=_categories(m.signal),
    )
    if m.effect is not None:
        compared = _with_effect(compared, m.signal, m.effect, p_adjusted, level)
    return replace(compared, sentence=words.comparison_sentence(compared))


def _with_effect(
    compared: SignalComparison, signal: ComparedSignal, effect: ComparedEffect, p_adjusted: float | None, level: float
) -> SignalComparison:
    shown = p_adjusted is not None and p_adjusted <= FAMILY_ERROR
    low, high = effect.interval(level)
    if not shown:
        # an exact test of small counts can be wider than the interval: the interval is then widened to hold zero
        low, high = min(low, 0.0), max(high, 0.0)
    floor = math.log1p(signal.floor) if signal.scale == "log" else signal.floor
    verdict = _verdict(signal, effect, shown=shown, floor=floor, level=level)
    needed = None
    if verdict == "too_few_calls":
        needed = _needed(effect, (compared.n_base, compared.n_candidate), floor, level)
    return replace(
        compared,
        verdict=verdict,
        effect=_scaled(effect.estimate, signal),
        low=_scaled(low, signal),
        high=_scaled(high, signal),
        confidence=1.0 - level,
        p_value=effect.p_value,
        p_adjusted=p_adjusted,
        detectable=_scaled(effect.half_width(level), signal) if effect.attainable <= level else None,
        calls_needed=needed,
    )


def _verdict(
    signal: ComparedSignal, effect: ComparedEffect, *, shown: bool, floor: float, level: float
) -> ComparedVerdict:
    """Decide on one signal; `floor` is on the scale of the estimate, which has to be beyond it, not the interval."""
    beyond = abs(effect.estimate) >= floor
    if not shown:
        unseen = effect.attainable > level or effect.half_width(level) > floor
        # beyond the floor and yet not shown: whatever the interval says, these calls were too few
        return "too_few_calls" if unseen or (beyond and effect.p_value is not None) else "no_difference_shown"
    if not beyond:
        return "no_difference_shown"
    if signal.better is None:
        return "changed"
    return "better" if (effect.estimate > 0.0) == (signal.better == "higher") else "worse"


def _scaled(effect: float, signal: ComparedSignal) -> float | None:
    """Put an effect as it is reported; None where it has no finite value."""
    if signal.scale == "log":
        return math.expm1(effect) if effect < LARGEST_LOG else None
    return min(max(effect, 0.0), 1.0) if signal.scale == "categorical" else effect


def _needed(effect: ComparedEffect, calls: tuple[int, int], floor: float, level: float) -> tuple[int, int] | None:
    """Say how many calls like these on each side could show `floor`, to two digits; None where that cannot be said."""
    if floor <= 0.0 or effect.half_width(level, MOST_GROWTH) > floor:
        return None
    growth = LEAST_GROWTH
    if effect.half_width(level, LEAST_GROWTH) > floor:
        span = math.log(LEAST_GROWTH), math.log(MOST_GROWTH)
        growth = math.exp(optimize.brentq(lambda log: math.log(effect.half_width(level, math.exp(log)) / floor), *span))
    fewest = next(n for n in range(2, 100) if fewest_p(n, n) <= level)
    base, candidate = (_round_up(max(growth * n, fewest)) for n in calls)
    return base, candidate


def _round_up(calls: float) -> int:
    digit: int = 10 ** max(math.floor(math.log10(calls)) - 1, 0)
    return math.ceil(calls / digit) * digit


def _categories(signal: ComparedSignal) -> list[CategoryShift]:
    """Name the categories whose shares moved most, first."""
    if not signal.categories:
        return []
    columns = [column[np.isfinite(column)].astype(np.int64) for column in (signal.base, signal.candidate)]
    counts = [np.bincount(column, minlength=len(signal.categories)) for column in columns]
    before, after = (count / max(count.sum(), 1) for count in counts)
    order = np.lexsort((-before - after, -np.abs(after - before)))[:NAMED_CATEGORIES]
    return [
        CategoryShift(value=signal.categories[k], before=float(before[k]), after=float(after[k]))
        for k in order.tolist()
    ]
