"""Changes of shares."""

from typing import ClassVar

from leeboard.detectors.core.arenas import Rows
from leeboard.detectors.core.changes import Changes
from leeboard.detectors.core.changetime import ChangeTime
from leeboard.detectors.core.effect import Effect
from leeboard.detectors.core.evidence import Guarantee
from leeboard.detectors.core.jit import Record

from . import kernels
from .effect import share_change, share_effect, share_guarantee
from .kernels import FROZEN_SHARE_STATE, SHARE_STATE


class ShareChanges(Changes[None]):
    """Rows of SHARE. `rows`: how many there are at first, 0 for the default."""

    version: ClassVar[int] = 1

    def __init__(self, rows: int = 0) -> None:
        super().__init__("share", Rows(SHARE_STATE, begin=_begin, rows=rows), Rows(FROZEN_SHARE_STATE, rows=rows // 2))

    def _open(self, i: int, j: int, k: int, floor: float, context: None) -> None:
        rows = self.rows.array
        kernels.open_share_change(rows, i, j, self.frozen.array, k, rows[i]["change"], floor)

    def _next(self, i: int, floor: float, context: None) -> float:
        rows = self.rows.array
        kernels.supersede_share(rows, i, self.frozen.array, floor)
        return float(kernels.share_of(rows[rows[i]["watcher"]]) - kernels.share_of(rows[i]))

    def _restore(self, i: int) -> None:
        kernels.restore_share(self.rows.array, i, self.frozen.array)

    def _events_before(self, frozen: Record) -> float:
        return float(frozen["hits"] + frozen["misses"])

    def forget_evidence(self, i: int) -> None:
        """The events of row i mean something else from now on; nothing to do for one that waits for its first yes."""
        row = self.rows.array[i]
        if row["wealth"]["nats_notice"] > 0.0:
            kernels.restart_share(row)

    def effect(self, i: int, context: None) -> Effect:
        """Before, after and effect of the open change of row i."""
        return share_effect(self.rows.array, i, self.frozen.array)

    def change(self, i: int, context: None) -> ChangeTime:
        """When the change began that has just been opened, in events of the stream."""
        row = self.rows.array[i]
        before = float(kernels.share_of(self.frozen.array[row["frozen"]]))
        return share_change(row, int(row["events"]) - 1, before)

    def guarantee(self, i: int) -> Guarantee:
        """What the level of row i rests on."""
        return share_guarantee(self.rows.array[i])


def _begin(row: Record) -> None:
    """A share that waits for its first yes: the kernel opens it with the event that shows it."""
    for name in ("watcher", "frozen", "retained"):
        row[name] = -1
