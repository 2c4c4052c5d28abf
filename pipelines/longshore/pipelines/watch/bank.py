"""The detectors of all scopes: arenas, tables, and one way to speak of a row whatever its kind."""

import math
from typing import NamedTuple

import numpy as np
from longshore.detectors import categorical, lifecycle, numeric, ranks, season
from longshore.detectors.changetime import ChangeTime
from longshore.detectors.dependence import visible_shift
from longshore.detectors.effect import (
    Effect,
    numeric_change,
    numeric_effect,
    numeric_guarantee,
    share_change,
    share_effect,
    share_guarantee,
)
from longshore.detectors.jit import Record
from longshore.schemas.alert import Guarantee

from .arena import Rows
from .layout import CATEGORIES, CHUNK, ID_CHUNK, RING_ROW, SCOPE, Columns, State, make_scratch
from .signals import CATEGORICAL_COLUMNS, NUMERIC_COLUMNS, Kind, Signals

#: chunks of the ring of recent ids: 4,096 hashes
ID_CHUNKS = 8
#: events that a yardstick must hold to outlive its change
ANCHOR_NEEDED = 256


class Place(NamedTuple):
    """Where a detector stands in its scope."""

    kind: Kind
    column: int
    #: of a categorical signal
    category: int = 0


class Bank:
    """All detectors, by scope slot and place."""

    def __init__(self, signals: Signals, ring_calls: int, page_nats: float, notices_per_week: float) -> None:
        self.signals = signals
        self.scopes = Rows(SCOPE)
        self.numeric = Rows(numeric.NUMERIC, begin=_begin_number)
        self.yardsticks = Rows(numeric.YARDSTICK)
        self.clocks = Rows(season.regression_dtype(0), begin=season.open_regression)
        self.givens = Rows(season.regression_dtype(season.COVARIATES), begin=season.open_regression)
        self.shares = Rows(categorical.SHARE)
        self.share_yardsticks = Rows(categorical.SHARE_YARDSTICK)
        self.ring = Rows(RING_ROW, (CHUNK,))
        self.ids = Rows(np.dtype(np.uint64), (ID_CHUNK,))
        self.ring_size = ring_calls
        self.scratch = make_scratch()
        self.columns = Columns(
            signals.numeric_channels,
            signals.numeric_weights,
            signals.numeric_logarithmic,
            signals.numeric_dithers,
            signals.numeric_given,
            signals.numeric_salts,
            signals.binary_channels,
            signals.binary_weights,
            signals.binary_salts,
            signals.categorical_channels,
            signals.categorical_weights,
            signals.categorical_salts,
            signals.channel_weights,
            page_nats,
            notices_per_week,
        )
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
            self.yardsticks.array,
            self.clocks.array,
            self.givens.array,
            self.shares.array,
            self.share_yardsticks.array,
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
        )

    def add_scope(self) -> int:
        """A slot for a new scope."""
        slot = self.scopes.take()
        if len(self.scopes.array) > len(self.numeric_rows):
            old = [getattr(self, name) for name in self._tables()]
            self._make_tables(len(self.scopes.array))
            for name, table in zip(self._tables(), old, strict=True):
                getattr(self, name)[: len(table)] = table
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
        for name in self._tables():
            getattr(self, name)[slot] = 0 if name.endswith("events") else -1
        self.scopes.give(slot)

    def reserve(self, slot: int, calls: int) -> None:
        """Make sure that the rings of a scope have room for `calls` calls in all."""
        for chunks, rows, size in ((self.ring_chunks, self.ring, CHUNK), (self.id_chunks, self.ids, ID_CHUNK)):
            for k in range(min(chunks.shape[1], (calls + size - 1) // size)):
                if chunks[slot, k] < 0:
                    chunks[slot, k] = rows.take()

    def add(self, slot: int, place: Place) -> None:
        """Make a detector for a signal that is measured for the first time (or a category seen for the first time)."""
        if place.kind == "numeric":
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
            for name in ("watcher", "yardstick", "anchor"):
                self.shares.array[i][name] = -1

    def add_first_category(self, slot: int, place: Place) -> None:
        """Make the detector of the category that a signal has always shown so far."""
        self.category_rows[slot, place.column, place.category] = i = self.shares.take()
        categorical.open_share(self.shares.array[i], self.category_events[slot, place.column], True, 1.0, 1.0)

    def remove(self, slot: int, place: Place) -> None:
        """Give the detector of a category back whose place another one takes."""
        self._release_change(slot, place)
        self._rows(place).give(self.row(slot, place))
        self.category_rows[slot, place.column, place.category] = -1

    def places(self, slot: int) -> list[Place]:
        """Every detector of a scope."""
        places = [Place("numeric", int(c)) for c in np.flatnonzero(self.numeric_rows[slot] >= 0)]
        places += [Place("binary", int(c)) for c in np.flatnonzero(self.binary_rows[slot] >= 0)]
        places += [Place("categorical", int(c), int(k)) for c, k in np.argwhere(self.category_rows[slot] >= 0)]
        return places

    def row(self, slot: int, place: Place) -> int:
        """Row number of a detector, -1 where there is none."""
        if place.kind == "numeric":
            return int(self.numeric_rows[slot, place.column])
        if place.kind == "binary":
            return int(self.binary_rows[slot, place.column])
        return int(self.category_rows[slot, place.column, place.category])

    def record(self, slot: int, place: Place) -> Record:
        """The state of a detector."""
        return self._rows(place).array[self.row(slot, place)]

    def told(self, slot: int) -> list[tuple[Place, int]]:
        """Detectors whose newest value led to something, with its code; the codes are taken back."""
        numbers = self.numeric_rows[slot]
        shares = np.concatenate([self.binary_rows[slot], self.category_rows[slot].ravel()])
        if not (
            self.numeric.array["code"][numbers[numbers >= 0]].any()
            or self.shares.array["code"][shares[shares >= 0]].any()
        ):
            return []
        found: list[tuple[Place, int]] = []
        for place in self.places(slot):
            record = self.record(slot, place)
            if record["code"] != lifecycle.QUIET:
                found.append((place, int(record["code"])))
                record["code"] = lifecycle.QUIET
        return found

    def is_open(self, slot: int, place: Place) -> bool:
        """Has the detector an open change?"""
        return self.row(slot, place) >= 0 and bool(self.record(slot, place)["yardstick"] >= 0)

    def open_change(self, slot: int, place: Place, floor: float) -> None:
        """Open the change that a detector has fired for; `floor` in transformed units."""
        rows, yardsticks = self._rows(place), self._yardsticks(place)
        i, j = self.row(slot, place), rows.take()
        anchor = int(rows.array[i]["anchor"])
        k = anchor if anchor >= 0 else yardsticks.take()
        since = rows.array[i]["change"]
        if place.kind == "numeric":
            numeric.open_change(rows.array, i, j, yardsticks.array, k, since, floor, self.scratch.bets)
        else:
            categorical.open_share_change(rows.array, i, j, yardsticks.array, k, since, floor)

    def next_change(self, slot: int, place: Place, floor: float) -> float:
        """The watcher found the next change: it takes over, with a new watcher; the oldest yardstick stays.

        Returns how far the new level lies from the one between, in transformed units.
        """
        i = self.row(slot, place)
        if place.kind == "numeric":
            rows = self.numeric.array
            numeric.supersede(rows, i, self.yardsticks.array, floor, self.scratch.bets)
            new = ranks.mean(rows[rows[i]["watcher"]]["reference"])
            return float(new - ranks.mean(rows[i]["reference"]))
        rows = self.shares.array
        categorical.supersede_share(rows, i, self.share_yardsticks.array, floor)
        return float(categorical.share_of(rows[rows[i]["watcher"]]) - categorical.share_of(rows[i]))

    def restore(self, slot: int, place: Place) -> None:
        """The detector's stream has returned to where it was before its open change."""
        record = self.record(slot, place)
        j, k = int(record["watcher"]), int(record["yardstick"])
        if place.kind == "numeric":
            numeric.restore(self.numeric.array, self.row(slot, place), self.yardsticks.array)
        else:
            categorical.restore_share(self.shares.array, self.row(slot, place), self.share_yardsticks.array)
        self._rows(place).give(j)
        self._yardsticks(place).give(k)

    def accept(self, slot: int, place: Place) -> None:
        """The new level of a detector with an open change is normal from now on."""
        record = self.record(slot, place)
        j, k = int(record["watcher"]), int(record["yardstick"])
        lifecycle.accept(self._rows(place).array, self.row(slot, place))
        self._rows(place).give(j)
        self._yardsticks(place).give(k)

    def settle(self, slot: int, place: Place) -> bool:
        """The open change of a detector is too small to matter: it ends, but its yardstick stays for the next one.

        False where the yardstick holds too few events to be worth keeping.
        """
        record = self.record(slot, place)
        old = self._yardsticks(place).array[record["yardstick"]]
        events = old["reference"]["seen"] if place.kind == "numeric" else old["hits"] + old["misses"]
        if events < ANCHOR_NEEDED:
            self.accept(slot, place)
            return False
        j = int(record["watcher"])
        lifecycle.settle_change(self._rows(place).array, self.row(slot, place))
        self._rows(place).give(j)
        return True

    def drop_anchor(self, slot: int, place: Place) -> None:
        """The next change of a detector is measured by its own past again."""
        record = self.record(slot, place)
        if record["anchor"] >= 0:
            self._yardsticks(place).give(int(record["anchor"]))
            record["anchor"] = -1

    def nats(self, slot: int, place: Place) -> float:
        """How much higher than the scope's level this detector must reach (see `kernel.signal_nats`)."""
        scope = self.scopes.array[slot]
        columns = self.columns
        if place.kind == "numeric":
            channel, weight = columns.numeric_channels[place.column], columns.numeric_weights[place.column]
        elif place.kind == "binary":
            channel, weight = columns.binary_channels[place.column], columns.binary_weights[place.column]
        else:
            channel, weight = columns.categorical_channels[place.column], columns.categorical_weights[place.column]
        nats = float(scope["channel_nats"][channel]) - math.log(weight)
        if place.kind == "categorical":
            nats += math.log(int((self.category_rows[slot, place.column] >= 0).sum()))
        return nats

    def level_nats(self, slot: int, place: Place) -> float:
        """Log of the level of a detector now, in calls of the scope."""
        record = self.record(slot, place)
        if self.is_open(slot, place):
            return float(record["peak_page"]) - self.nats(slot, place) - lifecycle.WATCHER_NATS
        return float(record["log_notice"]) - self.nats(slot, place)

    def expect_milestone(self, slot: int, place: Place, level_nats: float) -> None:
        """Ask the kernel to stop when the evidence of an open change reaches this level, in calls of the scope."""
        self.record(slot, place)["milestone"] = level_nats + self.nats(slot, place) + lifecycle.WATCHER_NATS

    def effect(self, slot: int, place: Place) -> Effect:
        """Before, after and effect of an open change."""
        i = self.row(slot, place)
        if place.kind != "numeric":
            return share_effect(self.shares.array, i, self.share_yardsticks.array)
        logarithmic = bool(self.columns.logarithmic[place.column])
        return numeric_effect(self.numeric.array, i, self.yardsticks.array, logarithmic)

    def fired_nats(self, slot: int, place: Place, code: int) -> float:
        """Log of the level, in events of the signal, at which a detector (or its watcher) has just fired."""
        record = self.record(slot, place)
        if code == lifecycle.NEXT:
            record = self._rows(place).array[record["watcher"]]
        return float(record["log_notice"])

    def change(self, slot: int, place: Place) -> ChangeTime:
        """When the change began that has just been opened, in events of the signal."""
        record = self.record(slot, place)
        newest = int(record["events"]) - 1
        if place.kind == "numeric":
            return numeric_change(record, newest)
        before = self.share_yardsticks.array[record["yardstick"]]
        return share_change(record, newest, float(categorical.share_of(before)))

    def guarantee(self, slot: int, place: Place) -> Guarantee:
        """What the level of a detector rests on."""
        record = self.record(slot, place)
        return numeric_guarantee(record) if place.kind == "numeric" else share_guarantee(record)

    def sd(self, slot: int, place: Place) -> float:
        """Standard deviation of the transformed values of a numeric detector's reference."""
        return math.sqrt(float(ranks.variance(self.record(slot, place)["reference"])))

    def yardstick_sd(self, slot: int, place: Place) -> float:
        """Standard deviation of the transformed values before an open change of a numeric detector."""
        old = self.yardsticks.array[self.record(slot, place)["yardstick"]]
        return math.sqrt(float(ranks.variance(old["reference"])))

    def visible(self, slot: int, place: Place, nats: float) -> float:
        """Smallest lasting shift that a detector can show at a level of exp(nats), in transformed units or share."""
        record = self.record(slot, place)
        if place.kind == "numeric":
            return float(visible_shift(record["wander"], nats)) * self.sd(slot, place)
        n = float(record["hits"] + record["misses"])
        share = (float(record["hits"]) + 0.5) / (n + 1.0)
        span = min(max(n, 1.0), 1000.0)
        return math.sqrt(2.0 * nats * share * (1.0 - share) / span) + nats / span

    def arenas(self, place: Place) -> tuple[Rows, Rows]:
        """Where the row of a detector lies, and where its yardstick."""
        return self._rows(place), self._yardsticks(place)

    def regression(self, slot: int, place: Place) -> tuple[Rows, int]:
        """Where the regression of a detector lies, and its row number there (-1: it has none)."""
        if place.kind != "numeric":
            return self.clocks, -1
        rows = self.givens if self.columns.given[place.column] else self.clocks
        return rows, int(self.regression_rows[slot, place.column])

    def _rows(self, place: Place) -> Rows:
        return self.numeric if place.kind == "numeric" else self.shares

    def _yardsticks(self, place: Place) -> Rows:
        return self.yardsticks if place.kind == "numeric" else self.share_yardsticks

    def _release_change(self, slot: int, place: Place) -> None:
        if self.is_open(slot, place):
            record = self.record(slot, place)
            self._rows(place).give(int(record["watcher"]))
            self._yardsticks(place).give(int(record["yardstick"]))
        else:
            self.drop_anchor(slot, place)


def _begin_number(row: Record) -> None:
    """A numeric detector without a value; its levels are set at the first one."""
    numeric.open_row(row, 1.0, 1.0)
    row["unit"] = 1.0
