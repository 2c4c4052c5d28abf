"""The texts of one scope through all their signals: kernels run until something happens, then Python decides.

What an owner of the kernels does, in short: rows are taken and given back, changes opened, closed, replaced.
"""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from leeboard.detectors import ChangeTime, hash64
from leeboard.detectors.core.betting import BETS
from leeboard.detectors.core.effect import Effect
from leeboard.detectors.core.jit import kernel
from leeboard.detectors.core.lifecycle import FIRED, LEVEL, NEXT, RETURNED, accept
from leeboard.detectors.vector import change as vector_change
from leeboard.detectors.vector import drift as vector
from leeboard.detectors.vector import features as vector_features
from leeboard.detectors.vector.effect import (
    direction_change,
    direction_effect,
    features_change,
    features_effect,
)
from leeboard.pipelines.watch.texts.rows import COLUMNS, FEATURES, STORE, TEXT, WARM_UP, WARM_UP_CHUNKS, TextBatch
from leeboard.pipelines.watch.texts.rows import STYLE as VOCABULARY
from leeboard.pipelines.watch.texts.signals import (
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
    PARTS_CALL,
    SIGNALS,
    SPACE_CALL,
    STYLE,
    TextArenas,
    TextColumns,
    TextScratch,
    observe_text,
)
from leeboard.pipelines.watch.texts.store_parts import put_store, stored_parts

from tests.realdata.texts import Side, empty

Floats = npt.NDArray[np.float64]
#: everything of an output, of an input (see `vector_text`)
WHOLE_OUTPUT, WHOLE_INPUT = 1 | 2, 4 | 8 | 16
#: row of a signal in its arena; its watcher has the next one, its frozen reference half the number
PLACES = {OUTPUT_PARTS: 0, INPUT_PARTS: 2, STYLE: 0, CONDITIONAL: 2, CONTENT: 4}
#: what moves in texts that are `made_up`
MOVED_TOKENS, MOVED_FEATURE = [7, 40, 99, 180], 3
COLUMN_SALTS = TextColumns(
    np.array([hash64(f"output_features.{k}") for k in range(FEATURES)], np.uint64),
    np.array([hash64(f"input_features.{k}") for k in range(FEATURES)], np.uint64),
    np.array([hash64(SIGNALS[s]) for s in DIRECTIONS], np.uint64),
)


def batch_of(outputs: Side | None, inputs: Side | None) -> TextBatch:
    """A batch of calls; None: not measured."""
    n = len((outputs or inputs).tokens)  # type: ignore[union-attr]
    out, into = outputs or empty(n), inputs or empty(n)
    measured = np.full(n, (WHOLE_OUTPUT if outputs else 0) | (WHOLE_INPUT if inputs else 0), np.uint8)
    vectors = np.ascontiguousarray(into.vectors[:, :COLUMNS])
    return TextBatch(measured, out.features, out.style, out.tokens, into.features, into.style, vectors, into.scales)


def part_of(batch: TextBatch, first: int, last: int) -> TextBatch:
    """Some calls of a batch."""
    return TextBatch(*(column[first:last] for column in batch))


def made_up(n: int, seed: int, *, moved: float = 0.0) -> tuple[Side, Side]:
    """Outputs and inputs of n calls; `moved`: outputs use some tokens more often and others less, inputs stay."""
    rng = np.random.default_rng(seed)
    topics = rng.integers(0, 5, n)
    shape = np.random.default_rng(0)
    inputs, outputs = empty(n), empty(n)
    inputs.features[:] = rng.gamma(2.0, 1.0, (n, FEATURES)) + shape.random((5, FEATURES))[topics]
    inputs.style[:] = np.minimum(rng.poisson(shape.gamma(0.3, 1.0, VOCABULARY), (n, VOCABULARY)), 255)
    vectors = shape.normal(0.0, 30.0, (5, inputs.vectors.shape[1]))[topics]
    inputs.vectors[:] = np.clip(vectors + rng.normal(0.0, 25.0, inputs.vectors.shape), -127, 127).astype(np.int8)
    inputs.scales[:] = 1 / 127
    rates = shape.gamma(0.3, 3.0, VOCABULARY) * (1 + 0.4 * shape.random((5, VOCABULARY)))
    rates[:, MOVED_TOKENS] = 0.7 * np.exp(moved * np.where(np.arange(len(MOVED_TOKENS)) % 2, -0.7, 0.7))
    outputs.style[:] = np.minimum(rng.poisson(rates[topics]), 255)
    outputs.features[:] = 0.3 * inputs.features + rng.gamma(2.0, 1.0, (n, FEATURES))
    outputs.features[:, MOVED_FEATURE] += moved
    for side in (inputs, outputs):
        side.tokens[:] = side.style.sum(axis=1, dtype=np.int64) + 20
    return outputs, inputs


def hashes(n: int, seed: int) -> npt.NDArray[np.uint64]:
    """Hashes of n calls."""
    return np.random.default_rng([seed, 77]).integers(0, 2**63, n).astype(np.uint64)


@dataclass(frozen=True)
class Happening:
    """What a signal did at a call."""

    call: int
    signal: str
    code: int
    effect: Effect | None = None
    change: ChangeTime | None = None
    nats: float = math.nan


class TextScope:
    """One scope. `nats`, `page_nats`: logs of the levels, in events of the signal; `floor` in sd."""

    def __init__(
        self, nats: float = math.log(1e4), page_nats: float = math.log(1e6), *, floor: float = 0.0, vectors: bool = True
    ) -> None:
        self.arenas = TextArenas(
            np.zeros(1, TEXT),
            np.zeros(1, STORE),
            np.zeros(WARM_UP_CHUNKS, WARM_UP),
            np.zeros(6, DIRECTION),
            np.zeros(3, FROZEN_DIRECTION),
            np.zeros(4, PARTS),
            np.zeros(2, FROZEN_PARTS),
        )
        self.text["vectors"] = vectors
        self.floor = floor
        self.nats, self.page_nats = np.full(len(SIGNALS), nats), np.full(len(SIGNALS), page_nats)
        self.rows = np.array([0, *[-1] * (1 + len(SIGNALS))], np.int32)
        self.chunks = np.arange(WARM_UP_CHUNKS, dtype=np.int32)
        self.codes = np.zeros(len(SIGNALS), np.int64)
        self.scratch = TextScratch(np.zeros(FEATURES), np.zeros(max(BETS, vector.ALL_BETS)))
        self.calls = 0  # so far

    def reserve(self) -> int:
        """Take the rows that the next call needs; the call before which to ask again."""
        if self.calls + 1 < PARTS_CALL:
            return PARTS_CALL
        for s, i in PLACES.items():
            if self.rows[2 + s] < 0 and s not in DIRECTIONS:
                vector_features.open_features(self.arenas.parts[i], self.nats[s], self.page_nats[s])
                self.rows[2 + s] = i
        if self.calls + 1 < SPACE_CALL:
            return SPACE_CALL
        self.rows[1] = 0
        for s, i in PLACES.items():
            if self.rows[2 + s] < 0:
                vector.open_direction(self.arenas.directions[i], 0, self.nats[s], self.page_nats[s])
                self.rows[2 + s] = i
        return 1 << 60

    @property
    def text(self) -> np.void:
        """Counts."""
        row: np.void = self.arenas.texts[0]
        return row

    @property
    def space(self) -> np.void:
        """Rings and quantisers."""
        row: np.void = self.arenas.stores[0]
        return row

    def row(self, s: int) -> np.void:
        """State of signal s."""
        row: np.void = (self.arenas.directions if s in DIRECTIONS else self.arenas.parts)[PLACES[s]]
        return row

    def is_open(self, s: int) -> bool:
        """Has signal s an open change?"""
        return bool(self.rows[2 + s] >= 0 and self.row(s)["frozen"] >= 0)

    def feed(
        self, batch: TextBatch, events: npt.NDArray[np.uint64], *, levels: tuple[Floats, Floats] | None = None
    ) -> list[Happening]:
        """Give it a batch of calls; what happened. `levels` (n, 5), written: both processes after each call."""
        found: list[Happening] = []
        notice, page = levels or (np.zeros((0, 5)), np.zeros((0, 5)))
        e = 0
        while e < len(events):
            stop = min(len(events), e + self.reserve() - self.calls - 1)
            args = (self.arenas, self.rows, self.chunks, self.calls, batch, e, stop, events, COLUMN_SALTS)
            last = walk(*args, self.nats, self.page_nats, self.codes, self.scratch, notice, page)
            self.calls += last - e
            e = last
            found += [self.decide(s, int(self.codes[s])) for s in np.flatnonzero(self.codes).tolist()]
        return found

    def decide(self, s: int, code: int) -> Happening:
        """What the owner does when signal s did something. LEVEL: it reached its page level."""
        call = self.calls
        if code == LEVEL:
            self.row(s)["milestone"] = math.inf
            return Happening(call, SIGNALS[s], code)
        if code == RETURNED:
            if s in DIRECTIONS:
                vector_change.restore_direction(self.arenas.directions, PLACES[s], self.arenas.frozen_directions)
            else:
                vector_features.restore_features(self.arenas.parts, PLACES[s], self.arenas.frozen_parts)
            return Happening(call, SIGNALS[s], code)
        assert code in (FIRED, NEXT)
        effect, change = self._direction(s, code) if s in DIRECTIONS else self._parts(s, code)
        self.row(s)["milestone"] = self.page_nats[s]
        return Happening(call, SIGNALS[s], code, effect, change, float(self.row(s)["log_notice"]))

    def _direction(self, s: int, code: int) -> tuple[Effect, ChangeTime]:
        rows, old, i = self.arenas.directions, self.arenas.frozen_directions, PLACES[s]
        moved = rows[i] if code == FIRED else rows[rows[i]["watcher"]]
        change = direction_change(moved, self.space, KINDS[DIRECTIONS.index(s)])
        since = int(moved["events"]) - 1 - change.estimate
        if code == FIRED:
            vector_change.open_direction_change(rows, i, i + 1, old, i // 2, since, self.floor)
        else:
            vector_change.supersede_direction(rows, i, old, since, self.floor)
        return direction_effect(rows, i, old), change

    def _parts(self, s: int, code: int) -> tuple[Effect, ChangeTime]:
        rows, old, i = self.arenas.parts, self.arenas.frozen_parts, PLACES[s]
        change = features_change(rows[i] if code == FIRED else rows[rows[i]["watcher"]])
        if code == FIRED:
            args = (rows, i, i + 1, old, i // 2, rows[i]["change"], self.floor, self.scratch.bets)
            vector_features.open_features_change(*args)
        else:
            vector_features.supersede_features(rows, i, old, self.floor, self.scratch.bets)
        return features_effect(rows, i, old), change

    def effect(self, s: int) -> Effect:
        """Effect of the open change of signal s, now."""
        if s in DIRECTIONS:
            return direction_effect(self.arenas.directions, PLACES[s], self.arenas.frozen_directions)
        return features_effect(self.arenas.parts, PLACES[s], self.arenas.frozen_parts)

    def accept(self, s: int) -> None:
        """The new level of signal s is normal."""
        accept(self.arenas.directions if s in DIRECTIONS else self.arenas.parts, PLACES[s])

    def parts(self) -> dict[str, bytes]:
        """The whole state."""
        rest = {name: arena.tobytes() for name, arena in self.arenas._asdict().items() if name != "stores"}
        return (
            rest | stored_parts(self.space) | {"rows": self.rows.tobytes(), "calls": self.calls.to_bytes(8, "little")}
        )

    @classmethod
    def restored(cls, parts: dict[str, bytes], **settings: float) -> "TextScope":
        """A scope with that state."""
        scope = cls(**settings)
        for name, arena in scope.arenas._asdict().items():
            if name != "stores":
                arena[:] = np.frombuffer(parts[name], arena.dtype)
        put_store(scope.space, parts)
        scope.rows[:] = np.frombuffer(parts["rows"], np.int32)
        scope.calls = int.from_bytes(parts["calls"], "little")
        return scope


@kernel
def walk(
    arenas: TextArenas,
    rows: npt.NDArray[np.int32],
    chunks: npt.NDArray[np.int32],
    calls: int,
    batch: TextBatch,
    first: int,
    last: int,
    events: npt.NDArray[np.uint64],
    columns: TextColumns,
    nats: Floats,
    page_nats: Floats,
    codes: npt.NDArray[np.int64],
    scratch: TextScratch,
    notice: Floats,
    page: Floats,
) -> int:
    """Calls `first` to `last` - 1 until something happens; the next one."""
    for e in range(first, last):
        call = calls + e - first + 1
        code = observe_text(arenas, rows, chunks, call, batch, e, events[e], columns, nats, page_nats, codes, scratch)
        for s in range(codes.size if notice.shape[0] > 0 else 0):
            i = rows[2 + s]
            if i < 0:
                notice[e, s], page[e, s] = -np.inf, -np.inf
            elif s in (OUTPUT_PARTS, INPUT_PARTS):
                notice[e, s], page[e, s] = arenas.parts[i]["log_notice"], arenas.parts[i]["log_page"]
            else:
                notice[e, s], page[e, s] = arenas.directions[i]["log_notice"], arenas.directions[i]["log_page"]
        if code != 0:
            return e + 1
    return last
