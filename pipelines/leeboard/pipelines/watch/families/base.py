"""One object a kind of signal: where its detectors lie, and everything that differs between kinds.

The engine speaks of a detector by scope slot and key, and asks `bank.of(key)`; no other module knows what differs
between kinds.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from leeboard.detectors.core import lifecycle
from leeboard.detectors.core.changes import Changes
from leeboard.detectors.core.changetime import ChangeTime
from leeboard.detectors.core.effect import Effect
from leeboard.detectors.core.evidence import Guarantee
from leeboard.detectors.core.jit import Arena, Row
from leeboard.pipelines.arrays import enlarged
from leeboard.pipelines.signals import Kind, Signal
from leeboard.pipelines.watch.columns import Signals
from leeboard.pipelines.watch.state.keys import DetectorKey
from leeboard.pipelines.watch.state.scope import Scope
from leeboard.schemas import SignalSummary

#: status and level of a detector for its summary, from its key and the events that it has seen
Common = Callable[[DetectorKey, float], dict[str, Any]]
#: the smallest lasting effect that a detector can show, for its summary
Visible = Callable[[DetectorKey, Signal], float | None]


class Family(ABC):
    """The detectors of one kind of signal, of all scopes."""

    kind: ClassVar[Kind]
    #: as alerts name the detector
    detector: ClassVar[str]

    def __init__(
        self,
        signals: Signals,
        configured: tuple[Signal, ...],
        channels: npt.NDArray[np.int64],
        weights: npt.NDArray[np.float64],
    ) -> None:
        self.signals = signals
        self.configured = configured
        self._channels = channels
        self._weights = weights
        #: tables of this kind, by name, and what stands in them for a scope that has nothing
        self._tables: dict[str, int] = {}

    # where detectors lie

    @abstractmethod
    def changes(self, column: int) -> Changes[Any]:
        """Rows and life cycle of the detectors of a column."""

    @abstractmethod
    def keys(self, slot: int) -> list[DetectorKey]:
        """Every detector of a scope, in the order of columns."""

    @abstractmethod
    def row(self, slot: int, key: DetectorKey) -> int:
        """Row number of a detector, -1 where there is none."""

    @abstractmethod
    def add(self, slot: int, key: DetectorKey) -> None:
        """Make a detector for a signal that is measured for the first time (or a category seen for the first time)."""

    @abstractmethod
    def reported(self, slot: int) -> bool:
        """Did the newest value of any detector of a scope lead to something?"""

    def context(self, slot: int, key: DetectorKey) -> Any:
        """What the kernels must know of a stream beside its row."""
        return None

    def signal(self, scope: Scope, key: DetectorKey) -> Signal:
        """The signal of a detector as configured."""
        return self.configured[key.column]

    def resize(self, scopes: int) -> None:
        """Room for more scopes."""
        for name, empty in self._tables.items():
            setattr(self, name, enlarged(getattr(self, name), scopes, empty))

    def drop_scope(self, slot: int) -> None:
        """Free everything of a scope."""
        for key in self.keys(slot):
            self.changes(key.column).remove(self.row(slot, key))
        for name, empty in self._tables.items():
            getattr(self, name)[slot] = empty

    def record(self, slot: int, key: DetectorKey) -> Row:
        """The state of a detector."""
        return self.changes(key.column).record(self.row(slot, key))

    def frozen(self, slot: int, key: DetectorKey) -> Row:
        """The frozen reference of the open change of a detector."""
        return self.changes(key.column).frozen.array[self.record(slot, key)["frozen"]]

    def layout(self, column: int) -> tuple[np.dtype[Any], ...]:
        """What the state of a detector of a column is made of: its row, a frozen reference, and what else it has."""
        changes = self.changes(column)
        return changes.rows.array.dtype, changes.frozen.array.dtype

    def regression(self, slot: int, key: DetectorKey) -> tuple[Arena, int] | None:
        """Where the regression of a detector lies; None where it has none."""
        return None

    # the life cycle of a change

    def is_open(self, slot: int, key: DetectorKey) -> bool:
        """Has the detector an open change?"""
        i = self.row(slot, key)
        return i >= 0 and self.changes(key.column).is_open(i)

    def open(self, slot: int, key: DetectorKey, floor: float) -> None:
        """Open the change that a detector has fired for; `floor` in transformed units."""
        self.changes(key.column).open(self.row(slot, key), floor, self.context(slot, key))

    def next(self, slot: int, key: DetectorKey, floor: float) -> float:
        """The watcher found the next change: it takes over, with a new watcher; the oldest frozen reference stays.

        Returns how far the new level lies from the one between, in transformed units.
        """
        return self.changes(key.column).next(self.row(slot, key), floor, self.context(slot, key))

    def restore(self, slot: int, key: DetectorKey) -> None:
        """The detector's stream has returned to where it was before its open change."""
        self.changes(key.column).restore(self.row(slot, key))

    def accept(self, slot: int, key: DetectorKey) -> None:
        """The new level of a detector with an open change is normal from now on."""
        self.changes(key.column).accept(self.row(slot, key))

    def close_immaterial(self, slot: int, key: DetectorKey) -> bool:
        """The open change is too small to matter: it ends, but its frozen reference stays for the next one.

        False where the reference holds too few events to be worth keeping; the change is accepted then.
        """
        return self.changes(key.column).close_immaterial(self.row(slot, key))

    def drop_retained(self, slot: int, key: DetectorKey) -> None:
        """The next change of a detector is measured by its own past again."""
        self.changes(key.column).drop_retained(self.row(slot, key))

    @abstractmethod
    def release(self, slot: int, key: DetectorKey) -> None:
        """The open change of a detector ends unreported: its values mean something else from now on."""

    def opened(self, slot: int, key: DetectorKey, call: int) -> None:  # noqa: B027 - most kinds have nothing to do
        """A change was opened whose estimated first call is `call`."""

    # evidence

    def nats(self, scope: Row, slot: int, key: DetectorKey) -> float:
        """How much higher than the scope's level a detector must reach (see `channels.signal_nats`)."""
        return float(scope["channel_nats"][self._channels[key.column]]) - math.log(self._weights[key.column])

    def level_nats(self, scope: Row, slot: int, key: DetectorKey) -> float:
        """Log of the level of a detector now, in calls of the scope."""
        record = self.record(slot, key)
        nats = self.nats(scope, slot, key)
        if self.is_open(slot, key):
            return float(record["peak_page"]) - nats - lifecycle.WATCHER_NATS
        return float(record["log_notice"]) - nats

    def expect_milestone(self, scope: Row, slot: int, key: DetectorKey, level_nats: float) -> None:
        """Ask the kernel to stop when the evidence of an open change reaches this level, in calls of the scope."""
        milestone = level_nats + self.nats(scope, slot, key) + lifecycle.WATCHER_NATS
        self.record(slot, key)["milestone"] = milestone

    def fired_nats(self, slot: int, key: DetectorKey, code: int) -> float:
        """Log of the level, in events of the signal, at which a detector (or its watcher) has just fired."""
        return self.changes(key.column).fired_nats(self.row(slot, key), code)

    def effect(self, slot: int, key: DetectorKey) -> Effect:
        """Before, after and effect of an open change."""
        return self.changes(key.column).effect(self.row(slot, key), self.context(slot, key))

    def change(self, slot: int, key: DetectorKey) -> ChangeTime:
        """When the change began that has just been opened, in events of the signal."""
        return self.changes(key.column).change(self.row(slot, key), self.context(slot, key))

    def guarantee(self, slot: int, key: DetectorKey) -> Guarantee:
        """What the level of a detector rests on."""
        return self.changes(key.column).guarantee(self.row(slot, key))

    def sd(self, slot: int, key: DetectorKey) -> float:
        """Standard deviation of the transformed values of a detector's reference."""
        return 1.0

    def frozen_sd(self, slot: int, key: DetectorKey) -> float:
        """Standard deviation of the transformed values before an open change."""
        return 1.0

    def visible(self, slot: int, key: DetectorKey, nats: float) -> float:
        """Smallest lasting shift that a detector can show at a level of exp(nats), in transformed units or share."""
        return math.inf

    # what people read, and what the ring knows

    def measured(self, slot: int, key: DetectorKey, ring: Arena) -> npt.NDArray[np.bool_]:
        """For every call of the ring: did it measure the signal? All did where the ring cannot tell."""
        return np.ones(len(ring), np.bool_)

    def leader(self, slot: int, key: DetectorKey) -> int | None:
        """Number of the text feature that leads an open change; None where a signal is one thing."""
        return None

    @abstractmethod
    def summaries(self, scope: Scope, common: Common, visible: Visible) -> Iterator[SignalSummary]:
        """What the detectors of a scope look like now."""

    def constants(self, scope: Scope, still: Callable[..., SignalSummary]) -> Iterator[SignalSummary]:
        """Signals that have only ever shown one thing: they have no detector yet."""
        yield from ()

    def check(self, slot: int, key: DetectorKey) -> None:
        """Assert what holds of a detector between records; for tests."""
        record = self.record(slot, key)
        assert not math.isnan(float(record["log_notice"]))
        assert (record["watcher"] >= 0) == (record["frozen"] >= 0)
