"""Yes/no signals, and categorical ones, whose every category is a share."""

import math
from collections.abc import Callable, Iterator
from typing import ClassVar

import numpy as np
import numpy.typing as npt
from leeboard.detectors.core.jit import Row
from leeboard.detectors.share import kernels
from leeboard.detectors.share.changes import ShareChanges
from leeboard.pipelines.signals import CATEGORICAL_COLUMNS, Kind, Signal
from leeboard.pipelines.watch.columns import Signals
from leeboard.pipelines.watch.rounding import rounded
from leeboard.pipelines.watch.state.keys import DetectorKey
from leeboard.pipelines.watch.state.layout import CATEGORIES
from leeboard.pipelines.watch.state.scope import Scope
from leeboard.schemas import SignalSummary

from .base import Common, Family, Visible


class ShareFamily(Family):
    """What yes/no signals and categories have in common; both keep their rows in the same arena."""

    detector: ClassVar[str] = "share"
    detectors: ShareChanges
    #: row of every detector, and events of every signal, by scope slot and column
    rows: npt.NDArray[np.int32]
    events: npt.NDArray[np.int64]

    def changes(self, column: int) -> ShareChanges:
        """Rows and life cycle of the detectors of a column."""
        return self.detectors

    def reported(self, slot: int) -> bool:
        """Did the newest value of any detector of a scope lead to something?"""
        return self.detectors.reported(self.rows[slot])

    def forget_constant(self, slot: int, column: int) -> None:
        """What a signal has shown so far counts no more than one event (see `kernels.restart_share`)."""
        self.events[slot, column] = min(int(self.events[slot, column]), 1)

    def release(self, slot: int, key: DetectorKey) -> None:
        """The open change of a detector ends unreported: its values mean something else from now on."""
        i = self.row(slot, key)
        self.detectors.release(i)
        self.detectors.forget_evidence(i)

    def visible(self, slot: int, key: DetectorKey, nats: float) -> float:
        """Smallest lasting shift of a share that a detector can show at a level of exp(nats); inf for none."""
        record = self.record(slot, key)
        n = float(record["hits"] + record["misses"])
        share = (float(record["hits"]) + 0.5) / (n + 1.0)
        span = min(max(n, 1.0), 1000.0)
        shift = math.sqrt(2.0 * nats * share * (1.0 - share) / span) + nats / span
        return shift if shift <= 1.0 else math.inf


class BinaryFamily(ShareFamily):
    """A yes/no signal gets its row when it says the other for the first time: before, only its length counts."""

    kind: ClassVar[Kind] = "binary"

    def __init__(self, signals: Signals, detectors: ShareChanges, scopes: int) -> None:
        super().__init__(signals, signals.binary, signals.binary_channels, signals.binary_weights)
        self.detectors = detectors
        self.rows = np.full((scopes, len(signals.binary)), -1, np.int32)
        self.events = np.zeros((scopes, len(signals.binary)), np.int64)
        #: what a signal said first, -1 before; ahead of the kernel inside a batch
        self.first = np.full((scopes, len(signals.binary)), -1, np.int8)
        self._tables = {"rows": -1, "events": 0, "first": -1}

    def keys(self, slot: int) -> list[DetectorKey]:
        """Every detector of a scope, in the order of columns."""
        return [DetectorKey("binary", int(column)) for column in np.flatnonzero(self.rows[slot] >= 0)]

    def row(self, slot: int, key: DetectorKey) -> int:
        """Row number of a detector, -1 where there is none."""
        return int(self.rows[slot, key.column])

    def add(self, slot: int, key: DetectorKey) -> None:
        """Make the detector of a signal that says the other for the first time."""
        self.rows[slot, key.column] = i = self.detectors.rows.allocate()
        said = bool(self.first[slot, key.column])
        kernels.open_share(self.detectors.rows.array[i], self.events[slot, key.column], said, 1.0, 1.0)

    def summaries(self, scope: Scope, common: Common, visible: Visible) -> Iterator[SignalSummary]:
        """Recent shares."""
        for key in self.keys(scope.slot):
            signal = self.signal(scope, key)
            record = self.record(scope.slot, key)
            yield SignalSummary(
                name=signal.name,
                channel=signal.channel,
                share=rounded(_recent_share(record)),
                unit="share",
                visible=visible(key, signal),
                **common(key, float(record["hits"] + record["misses"])),
            )

    def constants(self, scope: Scope, still: Callable[..., SignalSummary]) -> Iterator[SignalSummary]:
        """Signals that have only ever said one thing."""
        slot = scope.slot
        for column in np.flatnonzero((self.events[slot] > 0) & (self.rows[slot] < 0)).tolist():
            share = float(self.first[slot, column])
            yield still(self.configured[column], int(self.events[slot, column]), share=share)


class CategoricalFamily(ShareFamily):
    """A row for every category of a signal that has shown more than one."""

    kind: ClassVar[Kind] = "categorical"

    def __init__(self, signals: Signals, detectors: ShareChanges, scopes: int) -> None:
        channels, weights = signals.categorical_channels, signals.categorical_weights
        super().__init__(signals, signals.categorical, channels, weights)
        self.detectors = detectors
        self.rows = np.full((scopes, CATEGORICAL_COLUMNS, CATEGORIES), -1, np.int32)
        self.events = np.zeros((scopes, CATEGORICAL_COLUMNS), np.int64)
        self._tables = {"rows": -1, "events": 0}

    def keys(self, slot: int) -> list[DetectorKey]:
        """Every detector of a scope, in the order of columns and categories."""
        return [DetectorKey("categorical", int(c), int(k)) for c, k in np.argwhere(self.rows[slot] >= 0)]

    def row(self, slot: int, key: DetectorKey) -> int:
        """Row number of a detector, -1 where there is none."""
        return int(self.rows[slot, key.column, key.category])

    def signal(self, scope: Scope, key: DetectorKey) -> Signal:
        """The signal of a detector as configured, or one of the scope's own scores."""
        if key.column < len(self.configured):
            return self.configured[key.column]
        name = next(name for name, column in scope.categorical_scores.items() if column == key.column)
        return self.signals.score(name, categorical=True)

    def add(self, slot: int, key: DetectorKey) -> None:
        """Make the detector of a category seen for the first time.

        The kernel opens it with the call that shows the category, which may turn out to be a repeated one.
        """
        self.rows[slot, key.column, key.category] = self.detectors.rows.allocate()

    def add_first(self, slot: int, key: DetectorKey) -> None:
        """Make the detector of the category that a signal has always shown so far."""
        self.add(slot, key)
        kernels.open_share(self.record(slot, key), self.events[slot, key.column], True, 1.0, 1.0)

    def remove(self, slot: int, key: DetectorKey) -> None:
        """Free the detector of a category whose number another one takes."""
        self.detectors.remove(self.row(slot, key))
        self.rows[slot, key.column, key.category] = -1

    def nats(self, scope: Row, slot: int, key: DetectorKey) -> float:
        """How much higher than the scope's level a detector must reach: each category has an equal part."""
        return super().nats(scope, slot, key) + math.log(int((self.rows[slot, key.column] >= 0).sum()))

    def summaries(self, scope: Scope, common: Common, visible: Visible) -> Iterator[SignalSummary]:
        """Recent shares of all categories of a signal; status and level of the surest."""
        by_column: dict[int, list[DetectorKey]] = {}
        for key in self.keys(scope.slot):
            by_column.setdefault(key.column, []).append(key)
        for keys in by_column.values():
            signal = self.signal(scope, keys[0])
            records = [self.record(scope.slot, key) for key in keys]
            found = [common(key, float(r["hits"] + r["misses"])) for key, r in zip(keys, records, strict=True)]
            surest = max(found, key=lambda c: (c["status"] == "open", c["log10_level"]))
            names = [scope.names.get(key, "") for key in keys]
            yield SignalSummary(
                name=signal.name,
                channel=signal.channel,
                shares={name: rounded(_recent_share(r)) for name, r in zip(names, records, strict=True)},
                unit="share",
                **surest,
            )

    def constants(self, scope: Scope, still: Callable[..., SignalSummary]) -> Iterator[SignalSummary]:
        """Signals that have only ever shown one category."""
        for key, name in scope.names.items():
            events = int(self.events[scope.slot, key.column])
            if events > 0 and not (self.rows[scope.slot, key.column] >= 0).any():
                yield still(self.signal(scope, key), events, shares={name: 1.0})

    def check(self, slot: int, key: DetectorKey) -> None:
        """Assert what holds of a detector between records; for tests."""
        super().check(slot, key)
        assert self.record(slot, key)["events"] in (0, self.events[slot, key.column])


def _recent_share(record: Row) -> float:
    hits, events = kernels.hits_since(record, 0)
    return hits / events if events else 0.0
