"""The size of an open change of a share row, its time, and what its level rests on. Rare, hence plain Python."""

import math

from leeboard.detectors.core.changetime import ChangeTime
from leeboard.detectors.core.effect import Z95, Effect
from leeboard.detectors.core.evidence import Direction, Guarantee
from leeboard.detectors.core.jit import Arena, Row
from leeboard.detectors.core.lifecycle import RECENT_VALUES

from . import kernels


def share_effect(rows: Arena, i: int, frozen: Arena) -> Effect:
    """Effect of the open change of share row i: difference of shares, interval of Agresti and Caffo (2000)."""
    row = rows[i]
    old, new = frozen[row["frozen"]], rows[row["watcher"]]
    n_old, n_new = float(old["hits"] + old["misses"]), float(new["hits"] + new["misses"])
    before, after = float(kernels.share_of(old)), float(kernels.share_of(new))
    p, q = (old["hits"] + 1.0) / (n_old + 2.0), (new["hits"] + 1.0) / (n_new + 2.0)
    error = math.sqrt(p * (1 - p) / (n_old + 2.0) + q * (1 - q) / (n_new + 2.0))
    low, high = max(q - p - Z95 * error, -1.0), min(q - p + Z95 * error, 1.0)
    direction: Direction = "up" if after >= before else "down"
    return Effect(before, after, after - before, low, high, direction, int(n_old), int(n_new))


def share_change(row: Row, newest: int, before: float) -> ChangeTime:
    """Change time of a share row, as events before event number `newest`."""
    reach = newest - int(row["change"])
    if reach >= RECENT_VALUES:
        return ChangeTime(reach, reach + reach // 4, reach - reach // 4)
    return ChangeTime(*kernels.refine_share(row, before))


def share_guarantee(row: Row) -> Guarantee:
    """What the level of a share row rests on."""
    return "empirical" if row["surcharge_notice"] > 0.0 else "exact"
