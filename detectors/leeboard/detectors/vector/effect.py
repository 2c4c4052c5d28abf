"""The size of an open change of vectors or features, its time, and calls that show it. Rare, hence Python."""

import math

import numpy as np
from leeboard.detectors.core import ranks
from leeboard.detectors.core.changetime import ChangeTime
from leeboard.detectors.core.effect import Z95, Effect
from leeboard.detectors.core.evidence import Direction, Guarantee
from leeboard.detectors.core.jit import Arena, Integers, Record, kernel
from leeboard.detectors.numeric.effect import numeric_change

from .change import direction_shift
from .direction import project
from .drift import locate
from .features import feature_shift
from .store import call_of, oldest, seen

#: a feature's shift is cut here, in sd
LARGEST_SHIFT = 100.0


def direction_change(row: Record, space: Record, kind: int) -> ChangeTime:
    """When the change began for which a direction has just fired (before it is opened), as events ago."""
    return ChangeTime(*locate(row, space, kind))


def direction_effect(rows: Arena, i: int, frozen: Arena) -> Effect:
    """Effect of the open change of a direction: how far the mean moved along the aim of the opening, in its sd.

    Only scores count that had no part in their aim, so it is not flattered; an aim learned from few events understates.
    """
    old = frozen[rows[i]["frozen"]]
    shift, after, before = float(direction_shift(old)), int(old["after"]), int(old["seen"])
    error = math.sqrt(float(old["aim"]["variance_inflation"]) / max(after, 1) + 1.0 / max(before, 1))
    direction: Direction = "up" if shift >= 0.0 else "down"
    return Effect(0.0, shift, shift, shift - Z95 * error, shift + Z95 * error, direction, before, max(after, 1))


def direction_guarantee(row: Record) -> Guarantee:
    """What the level of a direction rests on: aims are learned, so it is never exact."""
    wanders = any(float(discriminant["variance_inflation"]) > 2.0 for discriminant in row["discriminants"])
    return "empirical" if wanders or row["surcharge_notice"] > 0.0 else "approximate"


def features_change(row: Record) -> ChangeTime:
    """When the change began for which features have just fired (before it is opened), as events ago."""
    return numeric_change(row["parts"][row["leader"]], int(row["events"]) - 1)


def features_effect(rows: Arena, i: int, frozen: Arena) -> Effect:
    """Effect of the open change of features: that of the feature that led at the opening.

    `before` and `after` in its unit, the effect in standard deviations of before.
    """
    row = rows[i]
    old, watcher = frozen[row["frozen"]], rows[row["watcher"]]
    k = int(old["leader"])
    shift, squared_error = feature_shift(row, watcher, old, k)
    shift = min(max(float(shift), -LARGEST_SHIFT), LARGEST_SHIFT)
    before, after = old["parts"][k]["reference"], watcher["parts"][k]["reference"]
    unit, error = float(row["parts"][k]["unit"]), math.sqrt(float(squared_error))
    means = unit * float(ranks.mean(before)), unit * float(ranks.mean(after))
    direction: Direction = "up" if shift >= 0.0 else "down"
    n_before, n_after = int(before["seen"]), int(after["seen"])
    return Effect(*means, shift, shift - Z95 * error, shift + Z95 * error, direction, n_before, n_after)


def features_guarantee(row: Record) -> Guarantee:
    """What the level of features rests on: each is predicted from its own past."""
    return "empirical" if any(float(part["surcharge_notice"]) > 0.0 for part in row["parts"]) else "approximate"


@kernel
def typical_calls(old: Record, space: Record, kind: int, first: int, calls: Integers) -> int:
    """Write the numbers of the calls since event `first` that lie furthest along the aim of an open change.

    The furthest first; fewer than `calls` has room for where the ring holds fewer: their number is returned.
    """
    first, last = max(first, oldest(space, kind)), seen(space, kind)
    furthest = np.zeros(calls.size, np.int64)
    n = 0
    for event in range(first, last):
        x = project(old["aim"], space, kind, event)
        if n == calls.size and x <= furthest[n - 1]:
            continue
        at = min(n, calls.size - 1)
        while at > 0 and furthest[at - 1] < x:
            furthest[at] = furthest[at - 1]
            calls[at] = calls[at - 1]
            at -= 1
        furthest[at] = x
        calls[at] = call_of(space, kind, event)
        n = min(n + 1, calls.size)
    return n
