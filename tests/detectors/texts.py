"""The texts of one scope through all their signals: kernels run until something happens, then Python decides.

What an owner of the kernels does, in short: rows are taken and given back, changes opened, closed, replaced.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from leeboard.detectors import ChangeTime, hash64
from leeboard.detectors.core.arenas import record_of
from leeboard.detectors.core.betting import BETS
from leeboard.detectors.core.changes import Dump
from leeboard.detectors.core.effect import Effect
from leeboard.detectors.core.jit import kernel
from leeboard.detectors.core.lifecycle import FIRED, LEVEL, NEXT, RETURNED
from leeboard.detectors.vector import drift
from leeboard.detectors.vector.store import FIT_EVENTS
from leeboard.pipelines.watch.texts.bank import TextBank
from leeboard.pipelines.watch.texts.rows import (
    COLUMNS,
    STYLE_ENTRIES,
    TEXT_FEATURES,
    TEXT_STATE,
    WARM_UP,
    WARM_UP_CHUNKS,
    TextBatch,
)
from leeboard.pipelines.watch.texts.signals import (
    DIRECTIONS,
    INPUT_PARTS,
    OUTPUT_PARTS,
    PARTS_CALL,
    SIGNALS,
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
#: what moves in texts that are `made_up`
MOVED_TOKENS, MOVED_FEATURE = [7, 40, 99, 180], 3
COLUMN_SALTS = TextColumns(
    np.array([hash64(f"output_features.{k}") for k in range(TEXT_FEATURES)], np.uint64),
    np.array([hash64(f"input_features.{k}") for k in range(TEXT_FEATURES)], np.uint64),
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
    inputs.features[:] = rng.gamma(2.0, 1.0, (n, TEXT_FEATURES)) + shape.random((5, TEXT_FEATURES))[topics]
    inputs.style[:] = np.minimum(rng.poisson(shape.gamma(0.3, 1.0, STYLE_ENTRIES), (n, STYLE_ENTRIES)), 255)
    vectors = shape.normal(0.0, 30.0, (5, inputs.vectors.shape[1]))[topics]
    inputs.vectors[:] = np.clip(vectors + rng.normal(0.0, 25.0, inputs.vectors.shape), -127, 127).astype(np.int8)
    inputs.scales[:] = 1 / 127
    rates = shape.gamma(0.3, 3.0, STYLE_ENTRIES) * (1 + 0.4 * shape.random((5, STYLE_ENTRIES)))
    rates[:, MOVED_TOKENS] = 0.7 * np.exp(moved * np.where(np.arange(len(MOVED_TOKENS)) % 2, -0.7, 0.7))
    outputs.style[:] = np.minimum(rng.poisson(rates[topics]), 255)
    outputs.features[:] = 0.3 * inputs.features + rng.gamma(2.0, 1.0, (n, TEXT_FEATURES))
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
        self.bank = TextBank(1)
        self.bank.begin(0, vectors=vectors)
        self.floor = floor
        self.nats, self.page_nats = np.full(len(SIGNALS), nats), np.full(len(SIGNALS), page_nats)
        self.bank.chunks[0] = [self.bank.warm_up.allocate() for _ in range(WARM_UP_CHUNKS)]
        self.codes = np.zeros(len(SIGNALS), np.int64)
        self.scratch = TextScratch(np.zeros(TEXT_FEATURES), np.zeros(max(BETS, drift.ALL_BETS)))
        self.calls = 0  # so far

    def reserve(self) -> int:
        """Take the rows that the next call needs; the call before which to ask again."""
        if self.calls + 1 < PARTS_CALL:
            return PARTS_CALL
        self._add(s for s in range(len(SIGNALS)) if s not in DIRECTIONS)
        if self.calls + 1 < FIT_EVENTS:
            return FIT_EVENTS
        self._add(DIRECTIONS)
        return 1 << 60

    def _add(self, signals: Iterable[int]) -> None:
        for s in signals:
            if self.bank.row(0, s) < 0:
                self.bank.add(0, s)

    @property
    def arenas(self) -> TextArenas:
        """Where everything lies now."""
        return self.bank.arenas()

    @property
    def rows(self) -> npt.NDArray[np.int32]:
        """Row numbers: counts, store, signals."""
        return self.bank.table[0]

    @property
    def chunks(self) -> npt.NDArray[np.int32]:
        """Row numbers of the texts that wait."""
        return self.bank.chunks[0]

    @property
    def text(self) -> np.void:
        """Counts."""
        row: np.void = self.bank.text(0)
        return row

    @property
    def store(self) -> np.void:
        """Rings and quantisers."""
        row: np.void = self.bank.store(0)
        return row

    def row(self, s: int) -> np.void:
        """State of signal s."""
        row: np.void = self.bank.changes(s).record(self.bank.row(0, s))
        return row

    def is_open(self, s: int) -> bool:
        """Has signal s an open change?"""
        return self.bank.is_open(0, s)

    def feed(
        self, batch: TextBatch, events: npt.NDArray[np.uint64], *, levels: tuple[Floats, Floats] | None = None
    ) -> list[Happening]:
        """Give it a batch of calls; what happened. `levels` (n, 5), written: both processes after each call."""
        found: list[Happening] = []
        notice, page = levels or (np.zeros((0, 5)), np.zeros((0, 5)))
        e = 0
        while e < len(events):
            stop = min(len(events), e + self.reserve() - self.calls - 1)
            rows, chunks = self.bank.table[0], self.bank.chunks[0]
            args = (self.bank.arenas(), rows, chunks, self.calls, batch, e, stop, events, COLUMN_SALTS)
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
        changes, i, vectors = self.bank.changes(s), self.bank.row(0, s), self.bank.vectors(0, s)
        if code == RETURNED:
            changes.restore(i)
            return Happening(call, SIGNALS[s], code)
        assert code in (FIRED, NEXT)
        if code == FIRED:
            changes.open(i, self.floor, vectors)
        else:
            changes.next(i, self.floor, vectors)
        self.row(s)["milestone"] = self.page_nats[s]
        effect, change = changes.effect(i, vectors), changes.change(i, vectors)
        return Happening(call, SIGNALS[s], code, effect, change, float(self.row(s)["log_notice"]))

    def effect(self, s: int) -> Effect:
        """Effect of the open change of signal s, now."""
        return self.bank.changes(s).effect(self.bank.row(0, s), self.bank.vectors(0, s))

    def accept(self, s: int) -> None:
        """The new level of signal s is normal."""
        self.bank.changes(s).accept(self.bank.row(0, s))

    def parts(self) -> dict[str, bytes]:
        """The whole state."""
        bank = self.bank
        parts = {"calls": self.calls.to_bytes(8, "little"), "text": self.text.tobytes()}
        parts |= {f"warm_up.{k}": bank.warm_up.array[i].tobytes() for k, i in enumerate(self.chunks.tolist())}
        if self.rows[1] >= 0:
            parts |= {f"store.{name}": part for name, part in stored_parts(self.store).items()}
        for s in bank.columns(0):
            dump = bank.changes(s).dump(bank.row(0, s))._asdict()
            parts |= {f"{s}.{name}": part for name, part in dump.items() if part is not None}
        return parts

    @classmethod
    def restored(cls, parts: dict[str, bytes], **settings: float) -> "TextScope":
        """A scope with that state."""
        scope = cls(**settings)
        bank = scope.bank
        scope.calls = int.from_bytes(parts["calls"], "little")
        bank.texts.array[scope.rows[0]] = record_of(parts["text"], TEXT_STATE)
        for k, i in enumerate(scope.chunks.tolist()):
            bank.warm_up.array[i] = record_of(parts[f"warm_up.{k}"], WARM_UP)
        store = {name.removeprefix("store."): part for name, part in parts.items() if name.startswith("store.")}
        if store:
            bank.add_store(0)
            put_store(scope.store, store)
        for s in range(len(SIGNALS)):
            if f"{s}.row" in parts:
                bank.add(0, s)
                dump = Dump(*(parts.get(f"{s}.{name}") for name in Dump._fields))  # type: ignore[arg-type]
                bank.changes(s).load(bank.row(0, s), dump)
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
