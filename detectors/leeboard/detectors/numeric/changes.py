"""Changes of numeric streams."""

from typing import ClassVar

import numpy as np
from leeboard.detectors.core import ranks
from leeboard.detectors.core.arenas import Rows
from leeboard.detectors.core.betting import BETS
from leeboard.detectors.core.changes import Changes
from leeboard.detectors.core.changetime import ChangeTime
from leeboard.detectors.core.effect import Effect
from leeboard.detectors.core.evidence import Guarantee
from leeboard.detectors.core.jit import Record

from . import kernels
from .effect import numeric_change, numeric_effect, numeric_guarantee
from .kernels import FROZEN_NUMERIC_STATE, NUMERIC_STATE


class NumericChanges(Changes[bool]):
    """Rows of NUMERIC. Their context: are the values logarithms, so that effects are ratios?

    `unit`: scale of the values of new rows, 0 to learn it. `rows`: how many there are at first, 0 for the default.
    """

    version: ClassVar[int] = 1

    def __init__(self, unit: float = 0.0, rows: int = 0) -> None:
        def begin(row: Record) -> None:
            kernels.open_row(row, 1.0, 1.0)  # its levels are set before the first value
            row["unit"] = unit

        super().__init__(
            "numeric", Rows(NUMERIC_STATE, begin=begin, rows=rows), Rows(FROZEN_NUMERIC_STATE, rows=rows // 2)
        )
        self._scratch = np.zeros(BETS)

    def _open(self, i: int, j: int, k: int, floor: float, context: bool) -> None:
        rows = self.rows.array
        kernels.open_change(rows, i, j, self.frozen.array, k, rows[i]["change"], floor, self._scratch)

    def _next(self, i: int, floor: float, context: bool) -> float:
        rows = self.rows.array
        kernels.supersede(rows, i, self.frozen.array, floor, self._scratch)
        new = ranks.mean(rows[rows[i]["watcher"]]["reference"])
        return float(new - ranks.mean(rows[i]["reference"]))

    def _restore(self, i: int) -> None:
        kernels.restore_number(self.rows.array, i, self.frozen.array)

    def _events_before(self, frozen: Record) -> float:
        return float(frozen["reference"]["seen"])

    def forget_evidence(self, i: int) -> None:
        """The values of row i mean something else from now on: its evidence and its references start anew."""
        row = self.rows.array[i]
        kernels.clear_evidence(row)
        kernels.restart_references(row)

    def effect(self, i: int, context: bool) -> Effect:
        """Before, after and effect of the open change of row i."""
        return numeric_effect(self.rows.array, i, self.frozen.array, context)

    def change(self, i: int, context: bool) -> ChangeTime:
        """When the change began that has just been opened, in events of the stream."""
        row = self.rows.array[i]
        return numeric_change(row, int(row["events"]) - 1)

    def guarantee(self, i: int) -> Guarantee:
        """What the level of row i rests on."""
        return numeric_guarantee(self.rows.array[i])
