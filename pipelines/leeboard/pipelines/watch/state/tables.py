"""Which row of which arena belongs to which signal of which scope; rows are handed out and taken back here."""

from typing import NamedTuple

import numpy as np
from leeboard.detectors.core import lifecycle
from leeboard.detectors.core.jit import Record
from leeboard.detectors.numeric import kernels as numeric
from leeboard.detectors.numeric import season
from leeboard.detectors.share import kernels as categorical
from leeboard.pipelines.signals import CATEGORICAL_COLUMNS, NUMERIC_COLUMNS, Kind, Signals
from leeboard.pipelines.watch.kernel import join_channel
from leeboard.pipelines.watch.texts.bank import TextBank

from .arenas import Rows
from .layout import CATEGORIES, CHUNK, ID_CHUNK, RING_ROW, SCOPE, State, make_columns, make_scratch

#: chunks of the ring of recent ids: 4,096 hashes
ID_CHUNKS = 8


class DetectorKey(NamedTuple):
    """Where a detector stands in its scope."""

    kind: Kind
    column: int
    #: of a categorical signal
    category: int = 0


class Tables:
    """The rows of all scopes, by scope slot and place."""

    def __init__(self, signals: Signals, ring_calls: int, page_nats: float, notices_per_week: float) -> None:
        self.signals = signals
        self.scopes = Rows(SCOPE)
        self.numeric = Rows(numeric.NUMERIC, begin=_begin_number)
        self.frozen = Rows(numeric.FROZEN_NUMERIC)
        self.clocks = Rows(season.regression_dtype(0), begin=season.open_regression)
        self.givens = Rows(season.regression_dtype(season.COVARIATES), begin=season.open_regression)
        self.shares = Rows(categorical.SHARE)
        self.frozen_shares = Rows(categorical.FROZEN_SHARE)
        self.ring = Rows(RING_ROW, (CHUNK,))
        self.ids = Rows(np.dtype(np.uint64), (ID_CHUNK,))
        self.ring_size = ring_calls
        self.scratch = make_scratch()
        self.columns = make_columns(signals, page_nats, notices_per_week)
        self.texts = TextBank(len(self.scopes.array))
        self._make_tables(len(self.scopes.array))

    def _make_tables(self, scopes: int) -> None:
        self.numeric_rows = np.full((scopes, NUMERIC_COLUMNS), -1, np.int32)
        self.regression_rows = np.full((scopes, NUMERIC_COLUMNS), -1, np.int32)
        self.binary_rows = np.full((scopes, len(self.signals.binary)), -1, np.int32)
        self.binary_events = np.zeros((scopes, len(self.signals.binary)), np.int64)
        #: what a binary signal said first, -1 before; ahead of the kernel inside a batch
        self.binary_first = np.full((scopes, len(self.signals.binary)), -1, np.int8)
        self.category_rows = np.full((scopes, CATEGORICAL_COLUMNS, CATEGORIES), -1, np.int32)
        self.category_events = np.zeros((scopes, CATEGORICAL_COLUMNS), np.int64)
        self.ring_chunks = np.full((scopes, self.ring_size // CHUNK), -1, np.int32)
        self.id_chunks = np.full((scopes, ID_CHUNKS), -1, np.int32)

    def _tables(self) -> list[str]:
        rows = ["numeric_rows", "regression_rows", "binary_rows", "category_rows", "ring_chunks", "id_chunks"]
        return [*rows, "binary_first", "binary_events", "category_events"]

    def state(self) -> State:
        """The arrays as they are now, for the kernel."""
        return State(
            self.scopes.array,
            self.numeric.array,
            self.frozen.array,
            self.clocks.array,
            self.givens.array,
            self.shares.array,
            self.frozen_shares.array,
            self.ring.array,
            self.ids.array,
            self.numeric_rows,
            self.regression_rows,
            self.binary_rows,
            self.binary_events,
            self.category_rows,
            self.category_events,
            self.ring_chunks,
            self.id_chunks,
            self.texts.state(),
        )

    def add_scope(self) -> int:
        """A slot for a new scope."""
        slot = self.scopes.take()
        if len(self.scopes.array) > len(self.numeric_rows):
            old = [getattr(self, name) for name in self._tables()]
            self._make_tables(len(self.scopes.array))
            for name, table in zip(self._tables(), old, strict=True):
                getattr(self, name)[: len(table)] = table
            self.texts.resize(len(self.scopes.array))
        return slot

    def drop_scope(self, slot: int) -> None:
        """Give every row of a scope back, and its slot."""
        for place in self.places(slot):
            self._release_change(slot, place)
            self._rows(place).give(self.row(slot, place))
        for column, r in enumerate(self.regression_rows[slot]):
            if r >= 0:
                (self.givens if self.columns.given[column] else self.clocks).give(int(r))
        for chunks, rows in ((self.ring_chunks, self.ring), (self.id_chunks, self.ids)):
            for chunk in chunks[slot]:
                if chunk >= 0:
                    rows.give(int(chunk))
        self.texts.drop_scope(slot)
        for name in self._tables():
            getattr(self, name)[slot] = 0 if name.endswith("events") else -1
        self.scopes.give(slot)

    def reserve(self, slot: int, calls: int) -> None:
        """Make sure that the rings of a scope have room for `calls` calls in all."""
        for chunks, rows, size in ((self.ring_chunks, self.ring, CHUNK), (self.id_chunks, self.ids, ID_CHUNK)):
            for k in range(min(chunks.shape[1], (calls + size - 1) // size)):
                if chunks[slot, k] < 0:
                    chunks[slot, k] = rows.take()

    def add(self, slot: int, place: DetectorKey) -> None:
        """Make a detector for a signal that is measured for the first time (or a category seen for the first time)."""
        if place.kind == "text":
            self.texts.add(slot, place.column)
        elif place.kind == "numeric":
            self.numeric_rows[slot, place.column] = i = self.numeric.take()
            if place.column < len(self.signals.numeric):
                self.numeric.array["unit"][i] = self.signals.numeric[place.column].scale
                rows = self.givens if self.columns.given[place.column] else self.clocks
                self.regression_rows[slot, place.column] = rows.take()
        elif place.kind == "binary":
            self.binary_rows[slot, place.column] = i = self.shares.take()
            said = bool(self.binary_first[slot, place.column])
            categorical.open_share(self.shares.array[i], self.binary_events[slot, place.column], said, 1.0, 1.0)
        else:
            self.category_rows[slot, place.column, place.category] = i = self.shares.take()
            # the kernel opens it with the call that shows the category, which may turn out to be a repeated one
            for name in ("watcher", "frozen", "retained"):
                self.shares.array[i][name] = -1

    def add_text(self, slot: int, column: int) -> None:
        """Make a text detector, and give it its part of the channel's budget."""
        self.add(slot, DetectorKey("text", column))
        channel = self.columns.texts.channels[column]
        weights = self.columns.texts.weights[column], self.columns.channel_weights[channel]
        join_channel(self.scopes.array[slot], channel, *weights)

    def add_first_category(self, slot: int, place: DetectorKey) -> None:
        """Make the detector of the category that a signal has always shown so far."""
        self.category_rows[slot, place.column, place.category] = i = self.shares.take()
        categorical.open_share(self.shares.array[i], self.category_events[slot, place.column], True, 1.0, 1.0)

    def remove(self, slot: int, place: DetectorKey) -> None:
        """Give the detector of a category back whose place another one takes."""
        self._release_change(slot, place)
        self._rows(place).give(self.row(slot, place))
        self.category_rows[slot, place.column, place.category] = -1

    def places(self, slot: int) -> list[DetectorKey]:
        """Every detector of a scope."""
        places = [DetectorKey("numeric", int(c)) for c in np.flatnonzero(self.numeric_rows[slot] >= 0)]
        places += [DetectorKey("binary", int(c)) for c in np.flatnonzero(self.binary_rows[slot] >= 0)]
        places += [DetectorKey("categorical", int(c), int(k)) for c, k in np.argwhere(self.category_rows[slot] >= 0)]
        return places + [DetectorKey("text", column) for column in self.texts.columns(slot)]

    def row(self, slot: int, place: DetectorKey) -> int:
        """Row number of a detector, -1 where there is none."""
        if place.kind == "numeric":
            return int(self.numeric_rows[slot, place.column])
        if place.kind == "binary":
            return int(self.binary_rows[slot, place.column])
        if place.kind == "text":
            return self.texts.row(slot, place.column)
        return int(self.category_rows[slot, place.column, place.category])

    def record(self, slot: int, place: DetectorKey) -> Record:
        """The state of a detector."""
        return self._rows(place).array[self.row(slot, place)]

    def reported(self, slot: int) -> list[tuple[DetectorKey, int]]:
        """Detectors whose newest value led to something, with its code; the codes are taken back."""
        numbers = self.numeric_rows[slot]
        shares = np.concatenate([self.binary_rows[slot], self.category_rows[slot].ravel()])
        if not (
            self.numeric.array["code"][numbers[numbers >= 0]].any()
            or self.shares.array["code"][shares[shares >= 0]].any()
            or self.texts.reported(slot)
        ):
            return []
        found: list[tuple[DetectorKey, int]] = []
        for place in self.places(slot):
            record = self.record(slot, place)
            if record["code"] != lifecycle.QUIET:
                found.append((place, int(record["code"])))
                record["code"] = lifecycle.QUIET
        return found

    def is_open(self, slot: int, place: DetectorKey) -> bool:
        """Has the detector an open change?"""
        return self.row(slot, place) >= 0 and bool(self.record(slot, place)["frozen"] >= 0)

    def drop_retained(self, slot: int, place: DetectorKey) -> None:
        """The next change of a detector is measured by its own past again."""
        record = self.record(slot, place)
        if record["retained"] >= 0:
            self._frozen(place).give(int(record["retained"]))
            record["retained"] = -1

    def arenas(self, place: DetectorKey) -> tuple[Rows, Rows]:
        """Where the row of a detector lies, and where its frozen reference."""
        return self._rows(place), self._frozen(place)

    def regression(self, slot: int, place: DetectorKey) -> tuple[Rows, int]:
        """Where the regression of a detector lies, and its row number there (-1: it has none)."""
        if place.kind != "numeric":
            return self.clocks, -1
        rows = self.givens if self.columns.given[place.column] else self.clocks
        return rows, int(self.regression_rows[slot, place.column])

    def _rows(self, place: DetectorKey) -> Rows:
        if place.kind == "text":
            return self.texts.rows(place.column)
        return self.numeric if place.kind == "numeric" else self.shares

    def _frozen(self, place: DetectorKey) -> Rows:
        if place.kind == "text":
            return self.texts.frozen(place.column)
        return self.frozen if place.kind == "numeric" else self.frozen_shares

    def _release_change(self, slot: int, place: DetectorKey) -> None:
        if self.is_open(slot, place):
            record = self.record(slot, place)
            self._rows(place).give(int(record["watcher"]))
            self._frozen(place).give(int(record["frozen"]))
        else:
            self.drop_retained(slot, place)


def _begin_number(row: Record) -> None:
    """A numeric detector without a value; its levels are set at the first one."""
    numeric.open_row(row, 1.0, 1.0)
    row["unit"] = 1.0
