"""The life cycle of changes, said once: a detector class drives one row with it, an owner of many streams all rows.

    watching --FIRED--> open --RETURNED--> watching        the references of before the change hold again
                        open --NEXT------> open            the watcher takes over, the oldest frozen reference stays
                        open --accept----> watching        the watcher takes over
                        open --close_immaterial--> watching  it takes over, the frozen reference is retained

While a change is open its row has a *watcher* (another row, whose reference grows from the change time) and a *frozen
reference* (what was before). Both are allocated and freed here, and nowhere else. What differs between kinds of streams
are the kernels, which a subclass calls.
"""

from abc import ABC, abstractmethod
from typing import Any, ClassVar, Generic, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt
from leeboard.detectors.core.evidence import Evidence, Guarantee

from . import lifecycle
from .arenas import Rows, record_bytes, record_of
from .changetime import ChangeTime
from .effect import Effect, make_evidence
from .jit import Row
from .lifecycle import FIRED, NEXT, RETURNED

#: events that a frozen reference must hold to outlive its change
RETAINED_NEEDED = 256
#: a change that was never seen to return is taken as normal after so many events (an owner may have a rule of its own)
ACCEPTED_AFTER = 4096
#: fields of a row that hold row numbers: they mean nothing elsewhere
POINTERS = ("watcher", "frozen", "retained")


C = TypeVar("C")


class Dump(NamedTuple):
    """A row and what it points to, as bytes; in the row's pointers 0 stands for "has one"."""

    row: bytes
    watcher: bytes | None
    frozen: bytes | None


class Changes(ABC, Generic[C]):
    """Rows of one kind of streams, their frozen references, and the life cycle of their changes.

    `name`: as evidence names the detector. `context`: what the kernels of a kind must know of a stream beside its row.
    """

    #: raised whenever rows that were written before would mean something else to the kernels of the kind
    version: ClassVar[int]

    def __init__(self, name: str, rows: Rows, frozen: Rows) -> None:
        self.name = name
        self.rows = rows
        self.frozen = frozen

    # what differs between kinds

    @abstractmethod
    def _open(self, i: int, j: int, k: int, floor: float, context: C) -> None:
        """Open the change that row i has fired for: watcher j, frozen reference k."""

    @abstractmethod
    def _next(self, i: int, floor: float, context: C) -> float:
        """The watcher of row i takes over; how far the new level lies from the one between, in transformed units."""

    @abstractmethod
    def _restore(self, i: int) -> None:
        """The references of before the open change of row i hold again."""

    @abstractmethod
    def _events_before(self, frozen: Row) -> float:
        """Events that a frozen reference holds."""

    @abstractmethod
    def effect(self, i: int, context: C) -> Effect:
        """Before, after and effect of the open change of row i."""

    @abstractmethod
    def change(self, i: int, context: C) -> ChangeTime:
        """When the change began that has just been opened, in events of the stream."""

    @abstractmethod
    def guarantee(self, i: int) -> Guarantee:
        """What the level of row i rests on."""

    # what all have in common

    def record(self, i: int) -> Row:
        """The state of row i."""
        return self.rows.array[i]

    def is_open(self, i: int) -> bool:
        """Has row i an open change?"""
        return bool(self.rows.array[i]["frozen"] >= 0)

    def reported(self, rows: npt.NDArray[np.int32]) -> bool:
        """Did the newest value of any of these rows (any shape, -1 for none) lead to something?"""
        return bool(self.rows.array["code"][rows[rows >= 0]].any())

    def open(self, i: int, floor: float, context: C) -> None:
        """Open the change that row i has fired for; `floor`: smallest effect that is no return, transformed."""
        j = self.rows.allocate()
        retained = int(self.rows.array[i]["retained"])
        k = retained if retained >= 0 else self.frozen.allocate()
        self._open(i, j, k, floor, context)

    def next(self, i: int, floor: float, context: C) -> float:
        """The watcher of row i found the next change: it takes over, with a new watcher.

        The oldest frozen reference stays. Returns how far the new level lies from the one between, in transformed
        units; 0 where that leads back.
        """
        return self._next(i, floor, context)

    def restore(self, i: int) -> None:
        """The stream of row i has returned to where it was before its open change."""
        row = self.rows.array[i]
        j, k = int(row["watcher"]), int(row["frozen"])
        self._restore(i)
        self.rows.free(j)
        self.frozen.free(k)

    def accept(self, i: int) -> None:
        """The new level of row i is normal from now on."""
        row = self.rows.array[i]
        j, k = int(row["watcher"]), int(row["frozen"])
        lifecycle.accept(self.rows.array, i)
        self.rows.free(j)
        self.frozen.free(k)

    def close_immaterial(self, i: int) -> bool:
        """The open change of row i is too small to matter: it ends, and its frozen reference is retained.

        The next change is measured by it, so that drift in small steps cannot hide. False, and the change is accepted,
        where the reference holds too few events to be worth keeping.
        """
        if not self.is_worth_retaining(i):
            self.accept(i)
            return False
        j = int(self.rows.array[i]["watcher"])
        lifecycle.close_immaterial(self.rows.array, i)
        self.rows.free(j)
        return True

    def is_worth_retaining(self, i: int) -> bool:
        """Does the frozen reference of the open change of row i hold enough events to outlive it?"""
        return self._events_before(self.frozen.array[self.rows.array[i]["frozen"]]) >= RETAINED_NEEDED

    def free_change(self, i: int) -> None:
        """Free what row i points to; the pointers stay as they are."""
        row = self.rows.array[i]
        if row["frozen"] >= 0:
            self.rows.free(int(row["watcher"]))
            self.frozen.free(int(row["frozen"]))
        elif row["retained"] >= 0:
            self.frozen.free(int(row["retained"]))

    def drop_retained(self, i: int) -> None:
        """The next change of row i is measured by its own past again."""
        row = self.rows.array[i]
        if row["retained"] >= 0:
            self.frozen.free(int(row["retained"]))
            row["retained"] = -1

    def release(self, i: int) -> None:
        """The open change of row i ends unreported, and what was retained goes with it."""
        self.free_change(i)
        for name in POINTERS:
            self.rows.array[i][name] = -1

    def remove(self, i: int) -> None:
        """Free row i and what it points to."""
        self.free_change(i)
        self.rows.free(i)

    def fired_nats(self, i: int, code: int) -> float:
        """Log of the level, in events of the stream, at which row i (or its watcher, for NEXT) has just fired."""
        row = self.rows.array[i]
        return float(self.rows.array[row["watcher"]]["log_notice"] if code == NEXT else row["log_notice"])

    def log_level(self, i: int, nats_notice: float) -> float:
        """Log of the level now; the page process counts only once the notice level was reached."""
        row = self.rows.array[i]
        return float(max(row["peak_page"], nats_notice)) if self.is_open(i) else float(row["log_notice"])

    def follow(self, i: int, code: int, floor: float, nats_notice: float, context: C) -> Evidence | None:
        """What `code` says of the newest value of row i, done; evidence where a change was opened.

        For a stream without an owner who decides: every next change counts, and a change that lasts ACCEPTED_AFTER
        events becomes normal.
        """
        if code == RETURNED:
            self.restore(i)
        elif code in (FIRED, NEXT):
            if code == FIRED:
                self.open(i, floor, context)
            else:
                self.next(i, floor, context)
            nats = max(nats_notice, float(self.rows.array[i]["log_page"]))
            return make_evidence(nats, self.effect(i, context), self.change(i, context), self.guarantee(i), self.name)
        elif self.is_open(i):
            row = self.rows.array[i]
            if row["events"] - self.frozen.array[row["frozen"]]["opened"] > ACCEPTED_AFTER:
                self.accept(i)
        return None

    def dump(self, i: int) -> Dump:
        """Row i and what it points to, for a snapshot."""
        row = self.rows.array[i]
        k = max(int(row["frozen"]), int(row["retained"]))
        return Dump(
            _row_bytes(self.rows.array, i),
            _row_bytes(self.rows.array, int(row["watcher"])) if row["watcher"] >= 0 else None,
            record_bytes(self.frozen.array, k) if k >= 0 else None,
        )

    def load(self, i: int, dump: Dump) -> None:
        """Make row i what it was when `dump` was written; what it points to gets other numbers.

        Raises ValueError where the bytes are no such row. Everything is read before anything is written: the row
        numbers of another process must never stand in a row of this one.
        """
        row = record_of(dump.row, self.rows.array.dtype)
        watcher = record_of(dump.watcher, self.rows.array.dtype) if dump.watcher is not None else None
        old = record_of(dump.frozen, self.frozen.array.dtype) if dump.frozen is not None else None
        if (row["watcher"] >= 0) != (watcher is not None) or (row["frozen"] >= 0 and watcher is None):
            raise ValueError("a watcher without its change")
        if (max(row["frozen"], row["retained"]) >= 0) != (old is not None):
            raise ValueError("a frozen reference without its change")
        self.free_change(i)
        j, k = -1, -1
        if old is not None:
            k = self.frozen.allocate()
            self.frozen.array[k] = old
        if watcher is not None:
            j = self.rows.allocate()
            self.rows.array[j] = watcher
            _point(self.rows.array[j], watcher, -1, k)
        self.rows.array[i] = row
        _point(self.rows.array[i], row, j, k)

    @property
    def snapshot_bytes(self) -> int:
        """Length of a `snapshot`."""
        return 2 * self.rows.array.itemsize + self.frozen.array.itemsize

    def snapshot(self, i: int) -> npt.NDArray[np.uint8]:
        """Row i and what it points to (`snapshot_bytes`,): zeros where it points to nothing."""
        row, watcher, old = self.dump(i)
        watcher = watcher or bytes(self.rows.array.itemsize)
        return np.frombuffer(row + watcher + (old or bytes(self.frozen.array.itemsize)), np.uint8)

    def restore_snapshot(self, i: int, state: npt.NDArray[np.uint8]) -> None:
        """Make row i what it was when `state` was written. Raises ValueError where that is no such row."""
        size = self.rows.array.itemsize
        row, watcher, old = (part.tobytes() for part in np.split(state, [size, 2 * size]))
        pointers = record_of(row, self.rows.array.dtype)
        has_old = max(pointers["frozen"], pointers["retained"]) >= 0
        self.load(i, Dump(row, watcher if pointers["watcher"] >= 0 else None, old if has_old else None))


def _row_bytes(rows: npt.NDArray[Any], i: int) -> bytes:
    # through bytes: a copy by fields leaves the padding to chance
    row = np.frombuffer(bytearray(record_bytes(rows, i)), rows.dtype)
    for name in POINTERS:
        row[name] = np.minimum(row[name], 0)
    return row.tobytes()


def _point(record: Row, old: Row, watcher: int, frozen: int) -> None:
    """Let a row point to its watcher and frozen reference as they are numbered here, where it pointed to some."""
    record["watcher"] = watcher
    for name in ("frozen", "retained"):
        record[name] = frozen if old[name] >= 0 else -1
