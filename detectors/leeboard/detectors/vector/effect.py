"""Size and time of an open change of vectors or features, and the events that show it most. Rare, hence Python."""

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
from .store import index_of, oldest, seen

#: a feature's shift is cut here, in sd
LARGEST_SHIFT = 100.0


def direction_change(row: Record, store: Record, kind: int) -> ChangeTime:
    """When the change began for which a direction has just fired (before it is opened), as events ago."""
    return ChangeTime(*locate(row, store, kind))


def direction_effect(rows: Arena, i: int, frozen: Arena) -> Effect:
    """Effect of the open change of row i: shift of the mean along the discriminant direction of the opening, in sd.

    Only scores of events to which the direction was not fitted count, so there is no in-sample bias. A direction fitted
    to few events understates the shift.
    """
    old = frozen[rows[i]["frozen"]]
    shift, after, before = float(direction_shift(old)), int(old["after"]), int(old["seen"])
    error = math.sqrt(float(old["discriminant"]["variance_inflation"]) / max(after, 1) + 1.0 / max(before, 1))
    direction: Direction = "up" if shift >= 0.0 else "down"
    return Effect(0.0, shift, shift, shift - Z95 * error, shift + Z95 * error, direction, before, max(after, 1))


def direction_guarantee(row: Record) -> Guarantee:
    """What the level of a direction rests on: directions are learned, so it is never exact."""
    inflated = any(float(discriminant["variance_inflation"]) > 2.0 for discriminant in row["discriminants"])
    return "empirical" if inflated or row["surcharge_notice"] > 0.0 else "approximate"


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
def typical_indices(old: Record, store: Record, kind: int, first: int, indices: Integers) -> int:
    """Write the indices of the events since `first` with the largest projections on the direction of an open change.

    The largest comes first. Returns how many were written: `indices.size`, or fewer where the ring holds fewer.
    """
    first, last = max(first, oldest(store, kind)), seen(store, kind)
    furthest = np.zeros(indices.size, np.int64)
    n = 0
    for event in range(first, last):
        x = project(old["discriminant"], store, kind, event)
        if n == indices.size and x <= furthest[n - 1]:
            continue
        at = min(n, indices.size - 1)
        while at > 0 and furthest[at - 1] < x:
            furthest[at] = furthest[at - 1]
            indices[at] = indices[at - 1]
            at -= 1
        furthest[at] = x
        indices[at] = index_of(store, kind, event)
        n = min(n + 1, indices.size)
    return n
