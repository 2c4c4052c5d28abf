"""The texts of all scopes: counts, rings, texts that wait for their quantiser, and the rows of their detectors."""

from typing import Any, ClassVar

import numpy as np
from leeboard.detectors.core.arenas import Rows
from leeboard.detectors.core.jit import Row
from leeboard.detectors.vector.changes import DirectionChanges, FeatureChanges, Vectors
from leeboard.detectors.vector.store import CONDITIONING, VECTORS
from leeboard.pipelines.arrays import enlarged

from .counts import merge_counts, set_split_point
from .kernel import TextState
from .rows import DIMENSIONS, STORE, TEXT_FEATURES, TEXT_STATE, WARM_UP, WARM_UP_CHUNKS, WARM_UP_TEXTS, chunks_needed
from .signals import (
    CONDITIONAL,
    CONTENT,
    DIRECTIONS,
    INPUT_PARTS,
    KINDS,
    OUTPUT_PARTS,
    SIGNALS,
    STYLE_COLUMN,
    TextArenas,
    is_degenerate,
    restart_inputs,
    restart_outputs,
)

#: columns that look at outputs, and those that look at inputs only
OUTPUTS, INPUTS = (OUTPUT_PARTS, STYLE_COLUMN, CONDITIONAL), (INPUT_PARTS, CONTENT)
#: columns whose baselines lie in the rings of one side
RINGS = {"outputs": (STYLE_COLUMN, CONDITIONAL), "inputs": (CONTENT, CONDITIONAL)}


class TextBank:
    """What is kept of texts, by scope slot; the rows of detectors by column of SIGNALS."""

    #: raised whenever what was kept before (counts, rings, texts in warm-up) would mean something else to the kernels
    version: ClassVar[int] = 1

    def __init__(self, scopes: int) -> None:
        self.texts = Rows(TEXT_STATE)
        self.stores = Rows(STORE)
        self.warm_up = Rows(WARM_UP)
        self.directions = DirectionChanges("direction", DIMENSIONS, DIMENSIONS)
        self.parts = FeatureChanges(TEXT_FEATURES)
        self.table = np.full((scopes, 2 + len(SIGNALS)), -1, np.int32)
        self.chunks = np.full((scopes, WARM_UP_CHUNKS), -1, np.int32)

    def layout(self) -> tuple[np.dtype[Any], ...]:
        """What is kept of the texts of a scope beside its detectors."""
        return self.texts.array.dtype, self.stores.array.dtype, self.warm_up.array.dtype

    def resize(self, scopes: int) -> None:
        """Room for more scopes."""
        self.table = enlarged(self.table, scopes, -1)
        self.chunks = enlarged(self.chunks, scopes, -1)

    def arenas(self) -> TextArenas:
        """The arenas as they are now."""
        return TextArenas(
            self.texts.array,
            self.stores.array,
            self.warm_up.array,
            self.directions.rows.array,
            self.directions.frozen.array,
            self.parts.rows.array,
            self.parts.frozen.array,
        )

    def state(self) -> TextState:
        """The arrays as they are now, for the kernel."""
        return TextState(self.arenas(), self.table, self.chunks)

    def begin(self, slot: int, *, vectors: bool) -> None:
        """The scope has a text for the first time; `vectors`: do its inputs have any?"""
        self.table[slot, 0] = i = self.texts.allocate()
        self.texts.array[i]["vectors"] = vectors

    def expect(self, slot: int, outputs: int, inputs: int) -> None:
        """Have room for so many more texts of a scope during its warm-up; free the room afterwards."""
        i, chunks = self.table[slot, 0], self.chunks[slot]
        needed = (max(outputs, inputs) + WARM_UP_TEXTS - 1) // WARM_UP_TEXTS
        if i >= 0:
            needed = int(chunks_needed(self.texts.array[i], self.stores.array, self.table[slot, 1], outputs, inputs))
        for k in range(WARM_UP_CHUNKS):
            if k < needed and chunks[k] < 0:
                chunks[k] = self.warm_up.allocate()
            elif needed == 0 and chunks[k] >= 0:
                self.warm_up.free(int(chunks[k]))
                chunks[k] = -1

    def add_store(self, slot: int) -> None:
        """Make the rings of a scope, unless it has them."""
        if self.table[slot, 1] < 0:
            self.table[slot, 1] = self.stores.allocate()

    def add(self, slot: int, column: int) -> None:
        """Make a detector; a direction needs the rings."""
        if column in DIRECTIONS:
            self.add_store(slot)
        self.table[slot, 2 + column] = self.changes(column).rows.allocate()

    def drop_scope(self, slot: int) -> None:
        """Free everything of a scope but its detectors."""
        for rows, numbers in ((self.texts, self.table[slot, :1]), (self.stores, self.table[slot, 1:2])):
            for i in numbers[numbers >= 0].tolist():
                rows.free(i)
        for i in self.chunks[slot][self.chunks[slot] >= 0].tolist():
            self.warm_up.free(i)
        self.table[slot] = -1
        self.chunks[slot] = -1

    def changes(self, column: int) -> DirectionChanges | FeatureChanges:
        """Rows and life cycle of the detectors of a column."""
        return self.directions if column in DIRECTIONS else self.parts

    def vectors(self, slot: int, column: int) -> Vectors | None:
        """The vectors that a direction watches; None for features."""
        return Vectors(self.store(slot), int(KINDS[DIRECTIONS.index(column)])) if column in DIRECTIONS else None

    def is_open(self, slot: int, column: int) -> bool:
        """Has the detector an open change?"""
        return self.row(slot, column) >= 0 and self.changes(column).is_open(self.row(slot, column))

    def columns(self, slot: int) -> list[int]:
        """Columns that have a detector."""
        return [int(column) for column in np.flatnonzero(self.table[slot, 2:] >= 0)]

    def row(self, slot: int, column: int) -> int:
        """Row number of a detector, -1 where there is none."""
        return int(self.table[slot, 2 + column])

    def store(self, slot: int) -> Row:
        """The rings of a scope."""
        return self.stores.array[self.table[slot, 1]]

    def text(self, slot: int) -> Row:
        """What is counted of a scope's texts."""
        return self.texts.array[self.table[slot, 0]]

    def side(self, slot: int, column: int) -> Row:
        """What is counted of the side that a column looks at."""
        return self.text(slot)["outputs" if column in OUTPUTS else "inputs"]

    def split_counts(self, slot: int, column: int, events: int) -> None:
        """Count what is before the newest so many texts apart, unless an older change is marked."""
        side = self.side(slot, column)
        if not side["split"]:
            set_split_point(side, max(int(side["events"]) - events, 0))

    def end_change(self, slot: int, column: int, *, accepted: bool) -> None:
        """A change has ended: where it was the last one of its side, the counts are one again."""
        others = OUTPUTS if column in OUTPUTS else INPUTS
        side = self.side(slot, column)
        if side["split"] and not any(self.is_open(slot, other) for other in others):
            merge_counts(side, accepted)

    def degenerate_side(self, slot: int, column: int, since: int) -> str | None:
        """The side to start afresh (a key of RINGS), now that the level since that event is accepted; None mostly."""
        side, kind = ("outputs", VECTORS) if column == STYLE_COLUMN else ("inputs", CONDITIONING)
        if column not in (STYLE_COLUMN, CONTENT) or not is_degenerate(self.store(slot), kind, since):
            return None
        return None if any(self.is_open(slot, other) for other in RINGS[side]) else side

    def restart(self, slot: int, side: str, call: int, *, features: bool, vectors: bool) -> None:
        """A side starts afresh before call number `call`; open changes of its detectors have been taken back.

        `features`: these mean something else, too; `vectors`: do inputs have vectors from now on?
        """
        for k in np.flatnonzero(self.chunks[slot] < 0).tolist():
            self.chunks[slot, k] = self.warm_up.allocate()
        args = (self.arenas(), self.table[slot], self.chunks[slot], call, features)
        if side == "outputs":
            restart_outputs(*args)
        else:
            restart_inputs(*args, vectors)
