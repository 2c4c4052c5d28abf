"""Changes of streams of vectors: of a learned direction, and of the mean of readable features."""

import math
from typing import ClassVar, NamedTuple

import numpy as np
from leeboard.detectors.core import ranks
from leeboard.detectors.core.arenas import Rows
from leeboard.detectors.core.betting import BETS
from leeboard.detectors.core.changes import Changes
from leeboard.detectors.core.changetime import ChangeTime
from leeboard.detectors.core.effect import Effect
from leeboard.detectors.core.evidence import Guarantee
from leeboard.detectors.core.jit import Record
from leeboard.detectors.core.lifecycle import BACK

from . import change as kernels
from .drift import direction_dtype, open_direction
from .effect import (
    direction_change,
    direction_effect,
    direction_guarantee,
    features_change,
    features_effect,
    features_guarantee,
)
from .features import (
    features_dtype,
    frozen_features_dtype,
    open_features,
    open_features_change,
    restore_features,
    supersede_features,
)


class Vectors(NamedTuple):
    """The vectors that a direction watches: their store, and which kind of it (VECTORS, RESIDUALS or CONDITIONING)."""

    store: Record
    kind: int


class DirectionChanges(Changes[Vectors]):
    """Rows of `direction_dtype`, for vectors and conditioning vectors of so many dimensions.

    `rows`: how many there are at first, 0 for the default.
    """

    version: ClassVar[int] = 1

    def __init__(self, name: str, dimensions: int, conditioning_dimensions: int, rows: int = 0) -> None:
        def begin(row: Record) -> None:
            open_direction(row, 0, 1.0, 1.0)  # its levels are set before the first event

        frozen = Rows(kernels.frozen_direction_dtype(dimensions, conditioning_dimensions), rows=rows // 2)
        super().__init__(
            name, Rows(direction_dtype(dimensions, conditioning_dimensions), begin=begin, rows=rows), frozen
        )

    def _open(self, i: int, j: int, k: int, floor: float, context: Vectors) -> None:
        rows = self.rows.array
        since = rows[i]["events"] - 1 - self.change(i, context).estimate
        kernels.open_direction_change(rows, i, j, self.frozen.array, k, since, floor)

    def _next(self, i: int, floor: float, context: Vectors) -> float:
        rows = self.rows.array
        watcher, old = rows[rows[i]["watcher"]], self.frozen.array[rows[i]["frozen"]]
        since = watcher["events"] - 1 - direction_change(watcher, *context).estimate
        shift, events = kernels.shift_since(watcher, old, *context, since)
        between = (float(old["total"]) - shift * events) / max(int(old["after"]) - events, 1) + float(old["offset"])
        # how much of the first change is left is told by the direction of then
        back = abs(shift + float(old["offset"])) < BACK * abs(between)
        kernels.supersede_direction(rows, i, self.frozen.array, since, floor)
        return 0.0 if back else float(kernels.direction_shift(old) - old["offset"])

    def _restore(self, i: int) -> None:
        kernels.restore_direction(self.rows.array, i, self.frozen.array)

    def _events_before(self, frozen: Record) -> float:
        return float(frozen["seen"])

    def effect(self, i: int, context: Vectors) -> Effect:
        """Before, after and effect of the open change of row i, in sd along the direction."""
        return direction_effect(self.rows.array, i, self.frozen.array)

    def change(self, i: int, context: Vectors) -> ChangeTime:
        """When the change began that row i has fired for, or that has just been opened, in events of the stream."""
        return direction_change(self.rows.array[i], *context)

    def guarantee(self, i: int) -> Guarantee:
        """What the level of row i rests on."""
        return direction_guarantee(self.rows.array[i])


class FeatureChanges(Changes[None]):
    """Rows of `features_dtype(features)`. `rows`: how many there are at first, 0 for the default."""

    version: ClassVar[int] = 1

    def __init__(self, features: int, rows: int = 0) -> None:
        def begin(row: Record) -> None:
            open_features(row, 1.0, 1.0)  # its levels are set before the first event

        frozen = Rows(frozen_features_dtype(features), rows=rows // 2)
        super().__init__("features", Rows(features_dtype(features), begin=begin, rows=rows), frozen)
        self._scratch = np.zeros(BETS)

    def _open(self, i: int, j: int, k: int, floor: float, context: None) -> None:
        rows = self.rows.array
        open_features_change(rows, i, j, self.frozen.array, k, rows[i]["change"], floor, self._scratch)

    def _next(self, i: int, floor: float, context: None) -> float:
        rows, frozen = self.rows.array, self.frozen.array
        supersede_features(rows, i, frozen, floor, self._scratch)
        leader = self.leader(i)
        old, new = (rows[n]["parts"][leader]["reference"] for n in (i, rows[i]["watcher"]))
        sd = math.sqrt(float(ranks.variance(old)))
        return float(ranks.mean(new) - ranks.mean(old)) / sd if sd > 0.0 else math.inf

    def _restore(self, i: int) -> None:
        restore_features(self.rows.array, i, self.frozen.array)

    def _events_before(self, frozen: Record) -> float:
        return float(frozen["parts"][0]["reference"]["seen"])

    def leader(self, i: int) -> int:
        """Number of the feature that led when the open change of row i was opened."""
        return int(self.frozen.array[self.rows.array[i]["frozen"]]["leader"])

    def effect(self, i: int, context: None) -> Effect:
        """Before, after and effect of the open change of row i: of the feature that leads."""
        return features_effect(self.rows.array, i, self.frozen.array)

    def change(self, i: int, context: None) -> ChangeTime:
        """When the change began that row i has fired for, or that has just been opened, in events of the stream."""
        return features_change(self.rows.array[i])

    def guarantee(self, i: int) -> Guarantee:
        """What the level of row i rests on."""
        return features_guarantee(self.rows.array[i])
