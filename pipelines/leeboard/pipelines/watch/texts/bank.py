"""The text detectors of all scopes: what the bank is asked that is particular to them. Columns are those of `TEXT`."""

import math

import numpy as np
from leeboard.detectors.base import Guarantee
from leeboard.detectors.core import ranks
from leeboard.detectors.core.changetime import ChangeTime
from leeboard.detectors.core.effect import Effect
from leeboard.detectors.core.jit import Arena, Record
from leeboard.detectors.core.lifecycle import BACK
from leeboard.detectors.vector import change as vector_change
from leeboard.detectors.vector import drift as vector
from leeboard.detectors.vector import features as vector_features
from leeboard.detectors.vector.effect import (
    direction_change,
    direction_effect,
    direction_guarantee,
    features_change,
    features_effect,
    features_guarantee,
)
from leeboard.detectors.vector.store import GIVENS, VECTORS
from leeboard.pipelines.watch.state.arenas import Rows

from .counts import mark, merge_split
from .kernel import TextState
from .rows import STORE, TEXT, WARM_UP, WARM_UP_CHUNKS, WARM_UP_TEXTS, chunks_needed
from .signals import (
    CONDITIONAL,
    CONTENT,
    DIRECTION,
    DIRECTIONS,
    FROZEN_DIRECTION,
    FROZEN_PARTS,
    INPUT_PARTS,
    KINDS,
    OUTPUT_PARTS,
    PARTS,
    SIGNALS,
    STYLE,
    TextArenas,
    is_degenerate,
    restart_inputs,
    restart_outputs,
)

#: columns that look at outputs, and those that look at inputs only
OUTPUTS, INPUTS = (OUTPUT_PARTS, STYLE, CONDITIONAL), (INPUT_PARTS, CONTENT)
#: columns whose baselines lie in the rings of one side
RINGS = {"outputs": (STYLE, CONDITIONAL), "inputs": (CONTENT, CONDITIONAL)}


class TextBank:
    """Text detectors, by scope slot and column."""

    def __init__(self, scopes: int) -> None:
        self.texts = Rows(TEXT)
        self.stores = Rows(STORE)
        self.young = Rows(WARM_UP)
        self.directions = Rows(DIRECTION, begin=_begin_direction)
        self.frozen_directions = Rows(FROZEN_DIRECTION)
        self.parts = Rows(PARTS, begin=_begin_features)
        self.frozen_parts = Rows(FROZEN_PARTS)
        self.table = np.full((scopes, 2 + len(SIGNALS)), -1, np.int32)
        self.chunks = np.full((scopes, WARM_UP_CHUNKS), -1, np.int32)
        self._bets = np.zeros(vector.ALL_BETS)

    def resize(self, scopes: int) -> None:
        """Room for more scopes."""
        for name in ("table", "chunks"):
            old = getattr(self, name)
            new = np.full((scopes, old.shape[1]), -1, np.int32)
            new[: len(old)] = old
            setattr(self, name, new)

    def arenas(self) -> TextArenas:
        """The arenas as they are now."""
        return TextArenas(
            self.texts.array,
            self.stores.array,
            self.young.array,
            self.directions.array,
            self.frozen_directions.array,
            self.parts.array,
            self.frozen_parts.array,
        )

    def state(self) -> TextState:
        """The arrays as they are now, for the kernel."""
        return TextState(self.arenas(), self.table, self.chunks)

    def begin(self, slot: int, *, vectors: bool) -> None:
        """The scope has a text for the first time; `vectors`: do its inputs have any?"""
        self.table[slot, 0] = i = self.texts.take()
        self.texts.array[i]["vectors"] = vectors

    def expect(self, slot: int, outputs: int, inputs: int) -> None:
        """Have room for so many more texts of a scope while it is young; take the room back once it has finished warm-up."""
        i, chunks = self.table[slot, 0], self.chunks[slot]
        needed = (max(outputs, inputs) + WARM_UP_TEXTS - 1) // WARM_UP_TEXTS
        if i >= 0:
            needed = int(chunks_needed(self.texts.array[i], self.stores.array, self.table[slot, 1], outputs, inputs))
        for k in range(WARM_UP_CHUNKS):
            if k < needed and chunks[k] < 0:
                chunks[k] = self.young.take()
            elif needed == 0 and chunks[k] >= 0:
                self.young.give(int(chunks[k]))
                chunks[k] = -1

    def add_store(self, slot: int) -> None:
        """Make the rings of a scope, unless it has them."""
        if self.table[slot, 1] < 0:
            self.table[slot, 1] = self.stores.take()

    def add(self, slot: int, column: int) -> None:
        """Make a detector; a direction needs the rings."""
        if column in DIRECTIONS:
            self.add_store(slot)
        self.table[slot, 2 + column] = self.rows(column).take()

    def drop_scope(self, slot: int) -> None:
        """Give everything of a scope back but its detectors."""
        for rows, numbers in ((self.texts, self.table[slot, :1]), (self.stores, self.table[slot, 1:2])):
            for i in numbers[numbers >= 0].tolist():
                rows.give(i)
        for i in self.chunks[slot][self.chunks[slot] >= 0].tolist():
            self.young.give(i)
        self.table[slot] = -1
        self.chunks[slot] = -1

    def columns(self, slot: int) -> list[int]:
        """Columns that have a detector."""
        return [int(column) for column in np.flatnonzero(self.table[slot, 2:] >= 0)]

    def row(self, slot: int, column: int) -> int:
        """Row number of a detector, -1 where there is none."""
        return int(self.table[slot, 2 + column])

    def rows(self, column: int) -> Rows:
        """Where the rows of a column lie."""
        return self.directions if column in DIRECTIONS else self.parts

    def frozen(self, column: int) -> Rows:
        """Where its frozen references lie."""
        return self.frozen_directions if column in DIRECTIONS else self.frozen_parts

    def reported(self, slot: int) -> bool:
        """Did the newest text lead to something?"""
        return any(self.record(slot, column)["code"] for column in self.columns(slot))

    def record(self, slot: int, column: int) -> Record:
        """The state of a detector."""
        return self.rows(column).array[self.row(slot, column)]

    def space(self, slot: int) -> Record:
        """The rings of a scope."""
        return self.stores.array[self.table[slot, 1]]

    def text(self, slot: int) -> Record:
        """What is counted of a scope's texts."""
        return self.texts.array[self.table[slot, 0]]

    def side(self, slot: int, column: int) -> Record:
        """What is counted of the side that a column looks at."""
        return self.text(slot)["outputs" if column in OUTPUTS else "inputs"]

    def is_open(self, slot: int, column: int) -> bool:
        """Has the detector an open change?"""
        return self.row(slot, column) >= 0 and bool(self.record(slot, column)["frozen"] >= 0)

    def open_change(self, slot: int, column: int, j: int, k: int, floor: float) -> None:
        """Open the change that a detector has fired for; watcher j, frozen reference k."""
        i, rows, frozen = self.row(slot, column), self.rows(column).array, self.frozen(column).array
        if column in DIRECTIONS:
            since = rows[i]["events"] - 1 - self.change(slot, column).estimate
            vector_change.open_direction_change(rows, i, j, frozen, k, since, floor)
        else:
            since = rows[i]["change"]
            vector_features.open_features_change(rows, i, j, frozen, k, since, floor, self._bets)

    def next_change(self, slot: int, column: int, floor: float) -> float:
        """The watcher found the next change; how far the new level lies from the one between, in sd.

        0 for a direction whose next change leads back: how much of the first one is left is told by the aim of then.
        """
        i, rows, frozen = self.row(slot, column), self.rows(column).array, self.frozen(column).array
        if column not in DIRECTIONS:
            vector_features.supersede_features(rows, i, frozen, floor, self._bets)
            leader = frozen[rows[i]["frozen"]]["leader"]
            old, new = (rows[n]["parts"][leader]["reference"] for n in (i, rows[i]["watcher"]))
            sd = math.sqrt(float(ranks.variance(old)))
            return float(ranks.mean(new) - ranks.mean(old)) / sd if sd > 0.0 else math.inf
        watcher = rows[rows[i]["watcher"]]
        since = watcher["events"] - 1 - self._direction_change(slot, column, watcher).estimate
        old, kind = frozen[rows[i]["frozen"]], int(KINDS[DIRECTIONS.index(column)])
        shift, events = vector_change.shift_since(watcher, old, self.space(slot), kind, since)
        between = (float(old["total"]) - shift * events) / max(int(old["after"]) - events, 1) + float(old["offset"])
        back = abs(shift + float(old["offset"])) < BACK * abs(between)
        vector_change.supersede_direction(rows, i, frozen, since, floor)
        return 0.0 if back else float(vector_change.direction_shift(old) - old["offset"])

    def restore(self, slot: int, column: int) -> None:
        """The texts have returned to what they were before the open change."""
        i, rows, frozen = self.row(slot, column), self.rows(column).array, self.frozen(column).array
        if column in DIRECTIONS:
            vector_change.restore_direction(rows, i, frozen)
        else:
            vector_features.restore_features(rows, i, frozen)

    def seen_before(self, column: int, old: Record) -> int:
        """Events that a frozen reference holds."""
        return int(old["seen"] if column in DIRECTIONS else old["parts"][0]["reference"]["seen"])

    def effect(self, slot: int, column: int) -> Effect:
        """Effect of an open change, in sd."""
        i, rows, frozen = self.row(slot, column), self.rows(column).array, self.frozen(column).array
        return (direction_effect if column in DIRECTIONS else features_effect)(rows, i, frozen)

    def leader(self, slot: int, column: int) -> int:
        """Number of the feature that led when the open change of features was opened."""
        record = self.record(slot, column)
        return int(self.frozen(column).array[record["frozen"]]["leader"])

    def change(self, slot: int, column: int) -> ChangeTime:
        """When the change began that a detector has fired for, or that has just been opened, as events ago."""
        record = self.record(slot, column)
        return self._direction_change(slot, column, record) if column in DIRECTIONS else features_change(record)

    def guarantee(self, slot: int, column: int) -> Guarantee:
        """What the level of a detector rests on."""
        return (direction_guarantee if column in DIRECTIONS else features_guarantee)(self.record(slot, column))

    def split_counts(self, slot: int, column: int, events: int) -> None:
        """Count what is before the newest so many texts apart, unless an older change is marked."""
        side = self.side(slot, column)
        if not side["split"]:
            mark(side, max(int(side["events"]) - events, 0))

    def end_change(self, slot: int, column: int, *, accepted: bool) -> None:
        """A change has ended: where it was the last one of its side, the counts are one again."""
        others = OUTPUTS if column in OUTPUTS else INPUTS
        side = self.side(slot, column)
        if side["split"] and not any(self.is_open(slot, other) for other in others):
            merge_split(side, accepted)

    def degenerate_side(self, slot: int, column: int, since: int) -> str | None:
        """The side to start afresh (a key of RINGS), now that the level since that event is accepted; None mostly."""
        side, kind = ("outputs", VECTORS) if column == STYLE else ("inputs", GIVENS)
        if column not in (STYLE, CONTENT) or not is_degenerate(self.space(slot), kind, since):
            return None
        return None if any(self.is_open(slot, other) for other in RINGS[side]) else side

    def restart(self, slot: int, side: str, call: int, *, features: bool, vectors: bool) -> None:
        """A side starts afresh before call number `call`; open changes of its detectors have been taken back.

        `features`: these mean something else, too; `vectors`: do inputs have vectors from now on?
        """
        for k in np.flatnonzero(self.chunks[slot] < 0).tolist():
            self.chunks[slot, k] = self.young.take()
        args = (self.arenas(), self.table[slot], self.chunks[slot], call, features)
        if side == "outputs":
            restart_outputs(*args)
        else:
            restart_inputs(*args, vectors)

    def _direction_change(self, slot: int, column: int, record: Record) -> ChangeTime:
        return direction_change(record, self.space(slot), int(KINDS[DIRECTIONS.index(column)]))


def _begin_direction(row: Arena) -> None:
    """A direction without an event; its levels are set at the first one."""
    vector.open_direction(row, 0, 1.0, 1.0)


def _begin_features(row: Arena) -> None:
    vector_features.open_features(row, 1.0, 1.0)
