"""The size of an open change: before, after, and the effect with its interval. Rare, hence plain Python."""

import math
from numbers import Real
from typing import NamedTuple

import numpy as np
from leeboard.detectors.base import Direction, Evidence, Guarantee
from leeboard.detectors.numeric.dependence import SCALES, block_variance, trust
from leeboard.detectors.share import kernels as categorical

from . import changetime, ranks
from .changetime import ChangeTime
from .jit import Arena, Record
from .lifecycle import RECENT_VALUES

#: two-sided 95 % normal quantile
Z95 = 1.959963984540054
#: effects of logarithmic values are cut here: a million times more
LARGEST_EFFECT = 1e6


class Effect(NamedTuple):
    """Before and after in the unit of the values; the effect as `Evidence` has it."""

    before: float
    after: float
    effect: float
    low: float
    high: float
    direction: Direction
    n_before: int
    n_after: int


def numeric_effect(rows: Arena, i: int, frozen: Arena, logarithmic: bool) -> Effect:
    """Effect of the open change of numeric row i: geometric means for logarithmic values, means otherwise.

    The standard error is Welch's, inflated by how much more than independence the stream's block means wander.
    """
    row = rows[i]
    old = frozen[row["frozen"]]["reference"]
    new = rows[row["watcher"]]["reference"]
    mean_old, mean_new = float(ranks.mean(old)), float(ranks.mean(new))
    n_old, n_new = int(old["seen"]), int(new["seen"])
    long_run = max(float(block_variance(row["long_run"], j)) for j in range(SCALES))
    variance_new = ranks.variance(new) if n_new >= 8 else max(ranks.variance(old), ranks.variance(new))
    error = math.sqrt(long_run * (ranks.variance(old) / max(n_old, 1) + variance_new / max(n_new, 1)))
    shift = mean_new - mean_old
    direction: Direction = "spread" if abs(shift) < 2.0 * error else "up" if shift > 0 else "down"
    low, high = shift - Z95 * error, shift + Z95 * error
    unit = float(row["unit"])
    if not logarithmic:
        scaled = [unit * x for x in (mean_old, mean_new, shift, low, high)]
        return Effect(scaled[0], scaled[1], scaled[2], scaled[3], scaled[4], direction, n_old, n_new)
    before, after = unit * math.sinh(mean_old), unit * math.sinh(mean_new)
    relative = [_relative(x) for x in (shift, low, high)]
    return Effect(before, after, relative[0], relative[1], relative[2], direction, n_old, n_new)


def _relative(shift: float) -> float:
    """Relative change for a difference of logs."""
    return min(math.expm1(min(shift, 50.0)), LARGEST_EFFECT)


def numeric_change(row: Record, newest: int) -> ChangeTime:
    """Change time of a numeric row, as events before event number `newest`."""
    reach = newest - int(row["change"])
    estimate, earliest, latest = changetime.refine(row["whitener"], 2 * reach + 16)
    if reach >= ranks.EXACT or earliest >= RECENT_VALUES - 1:  # older than the scores that are kept
        return ChangeTime(reach, max(reach + reach // 4, earliest), min(reach, latest))
    return ChangeTime(estimate, earliest, latest)


def numeric_guarantee(row: Record) -> Guarantee:
    """What the level of a numeric row rests on."""
    if row["surcharge_notice"] > 0.0 or any(block_variance(row["long_run"], j) > 2.0 for j in range(SCALES)):
        return "empirical"
    whitener = row["whitener"]
    trusted = trust(whitener["level_cross"], whitener["level_power"]) + trust(
        whitener["spread_cross"], whitener["spread_power"]
    )
    return "approximate" if trusted > 0.0 else "exact"


def share_effect(rows: Arena, i: int, frozen: Arena) -> Effect:
    """Effect of the open change of share row i: difference of shares, interval of Agresti and Caffo (2000)."""
    row = rows[i]
    old, new = frozen[row["frozen"]], rows[row["watcher"]]
    n_old, n_new = float(old["hits"] + old["misses"]), float(new["hits"] + new["misses"])
    before, after = float(categorical.share_of(old)), float(categorical.share_of(new))
    p, q = (old["hits"] + 1.0) / (n_old + 2.0), (new["hits"] + 1.0) / (n_new + 2.0)
    error = math.sqrt(p * (1 - p) / (n_old + 2.0) + q * (1 - q) / (n_new + 2.0))
    low, high = max(q - p - Z95 * error, -1.0), min(q - p + Z95 * error, 1.0)
    direction: Direction = "up" if after >= before else "down"
    return Effect(before, after, after - before, low, high, direction, int(n_old), int(n_new))


def share_change(row: Record, newest: int, before: float) -> ChangeTime:
    """Change time of a share row, as events before event number `newest`."""
    reach = newest - int(row["change"])
    if reach >= RECENT_VALUES:
        return ChangeTime(reach, reach + reach // 4, reach - reach // 4)
    return ChangeTime(*categorical.refine_share(row, before))


def share_guarantee(row: Record) -> Guarantee:
    """What the level of a share row rests on."""
    return "empirical" if row["surcharge_notice"] > 0.0 else "exact"


def finite(value: object) -> float | None:
    """The value as a finite number, or None where it is anything else."""
    if not isinstance(value, (Real, np.bool_)):
        return None
    try:
        number = float(value)
    except OverflowError:  # an int beyond the floats
        return None
    return number if math.isfinite(number) else None


def make_evidence(nats: float, effect: Effect, change: ChangeTime, guarantee: Guarantee, name: str) -> Evidence:
    """Evidence of a change that has just been opened at a level of exp(nats)."""
    return Evidence(
        math.exp(nats),
        effect.direction,
        effect.before,
        effect.after,
        effect.effect,
        (effect.low, effect.high),
        effect.n_before,
        effect.n_after,
        change,
        guarantee,
        name,
    )
