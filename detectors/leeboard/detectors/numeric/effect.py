"""The size of an open change of a numeric row, its time, and what its level rests on. Rare, hence plain Python."""

import math

from leeboard.detectors.core import changetime, ranks
from leeboard.detectors.core.changetime import ChangeTime
from leeboard.detectors.core.effect import Z95, Effect
from leeboard.detectors.core.evidence import Direction, Guarantee
from leeboard.detectors.core.jit import Arena, Row
from leeboard.detectors.core.lifecycle import RECENT_VALUES

from .dependence import SCALES, block_variance, trust

#: effects of logarithmic values are cut here: a million times more
LARGEST_EFFECT = 1e6


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


def numeric_change(row: Row, newest: int) -> ChangeTime:
    """Change time of a numeric row, as events before event number `newest`."""
    reach = newest - int(row["change"])
    estimate, earliest, latest = changetime.refine(row["whitener"]["scores"], row["whitener"]["queued"], 2 * reach + 16)
    if reach >= ranks.EXACT or earliest >= RECENT_VALUES - 1:  # older than the scores that are kept
        return ChangeTime(reach, max(reach + reach // 4, earliest), min(reach, latest))
    return ChangeTime(estimate, earliest, latest)


def numeric_guarantee(row: Row) -> Guarantee:
    """What the level of a numeric row rests on."""
    if row["surcharge_notice"] > 0.0 or any(block_variance(row["long_run"], j) > 2.0 for j in range(SCALES)):
        return "empirical"
    whitener = row["whitener"]
    trusted = trust(whitener["level_cross"], whitener["level_power"]) + trust(
        whitener["spread_cross"], whitener["spread_power"]
    )
    return "approximate" if trusted > 0.0 else "exact"
