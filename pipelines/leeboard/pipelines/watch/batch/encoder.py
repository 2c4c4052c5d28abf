"""Observations and scores of many scopes as arrays, ordered by scope, with the work that has to be done on the way."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import numpy.typing as npt
from leeboard.detectors import hash64
from leeboard.detectors.core.evidence import Evidence
from leeboard.pipelines.signals import (
    CATEGORICAL,
    CATEGORICAL_COLUMNS,
    FLAG_COLUMNS,
    MAX_CATEGORICAL_SCORES,
    MAX_SCORES,
    NUMERIC,
    NUMERIC_COLUMNS,
    Signal,
)
from leeboard.pipelines.watch.columns import Signals
from leeboard.pipelines.watch.families.bank import Bank
from leeboard.pipelines.watch.state.history import MAX_AHEAD
from leeboard.pipelines.watch.state.keys import DetectorKey
from leeboard.pipelines.watch.state.layout import Batch
from leeboard.pipelines.watch.state.scope import Scope
from leeboard.schemas import GROUPS, NUMBERS, SIGNED, Observation, Score

from .texts import TextEncoder

INPUT_TOKENS, OUTPUT_TOKENS = NUMBERS.index("input_tokens"), NUMBERS.index("output_tokens")
#: amounts are not negative
LOWEST = np.array([SIGNED.get(name, 0.0) for name in NUMBERS], np.float32)
#: entries that are encoded at once: larger batches gain nothing
MAX_BATCH = 4096
#: combinations of labels are kept this much longer than the ring of calls: the labels of a whole batch are looked up
#: before the kernel takes its first call, and a combination that the ring names must not make room for one of these
LOOK_AHEAD_CALLS = 8192
assert MAX_BATCH < LOOK_AHEAD_CALLS
assert MAX_BATCH <= MAX_AHEAD
#: evaluator of a score that came inside its call
INLINE = "call"
Work = Callable[[], None]


@dataclass(slots=True)
class Entry:
    """A call, or a score that came later (`observation` is then None)."""

    position: int
    scope: Scope
    time: int
    scope_time: int
    event: int
    observation: Observation | None = None
    score: Score | None = None
    #: late calls of the scope that were left out just before
    late: int = 0


@dataclass(slots=True)
class Encoded:
    """A batch, the entries in its order, and what Python has to do before each (by key in the batch)."""

    batch: Batch
    entries: list[Entry]
    work: dict[int, list[Work]] = field(default_factory=dict)
    alarms: dict[int, list[tuple[DetectorKey, Evidence]]] = field(default_factory=dict)


class Encoder:
    """Turns entries into a batch, ahead of the kernel: what a decision may read changes only through `work`."""

    def __init__(self, bank: Bank, signals: Signals, forget: Callable[[Scope, DetectorKey], None]) -> None:
        self._bank = bank
        self._forget = forget
        self._signals = signals
        self._texts = TextEncoder(bank, signals, forget)
        self._keep_calls = bank.history.ring_size + LOOK_AHEAD_CALLS
        self._off = frozenset(s.name for s in signals.categorical if s.weight == 0.0 or s.river)
        self._on_binary = np.array([s.weight > 0.0 and not s.river for s in signals.binary])
        self._columns = np.array([s.column for s in signals.numeric])
        self._silent = np.array([s.weight == 0.0 or s.river is not None for s in signals.numeric])
        self._river = [(c, s) for c, s in enumerate(signals.numeric) if s.river]
        self._river_binary = [(c, s) for c, s in enumerate(signals.binary) if s.river]
        unsupported = [s.name for s in (*signals.categorical, *signals.text) if s.river]
        if unsupported:
            raise ValueError(f"River's detectors take numbers only: signals.{unsupported[0]}.detector")

    def encode(self, entries: list[Entry]) -> Encoded:
        """Arrays of the entries, ordered by scope and then as they came."""
        slots = np.array([entry.scope.slot for entry in entries], np.int64)
        order = np.argsort(slots, kind="stable")
        entries = [entries[i] for i in order]
        encoded = Encoded(self._arrays(entries, slots[order]), entries)
        self._label(encoded)
        for e, work in self._texts.follow(entries, encoded.batch):
            self._do_before(encoded, e, work)
        self._score(encoded)
        self._alarm(encoded)
        self._prepare_rows(encoded)
        return encoded

    def _arrays(self, entries: list[Entry], slots: npt.NDArray[np.int64]) -> Batch:
        n = len(entries)
        absent = np.full(len(NUMBERS), np.nan, "<f4").tobytes()
        calls = [entry.observation for entry in entries]
        raw = np.frombuffer(b"".join([o.all_numbers() if o is not None else absent for o in calls]), "<f4")
        raw = raw.reshape(n, len(NUMBERS))
        # anything below is a mistake of who measured, and would spoil the regressions for ever
        raw = np.where(np.isfinite(raw) & (raw >= LOWEST), raw, np.nan)
        numbers = np.full((n, NUMERIC_COLUMNS), np.nan)
        numbers[:, : len(NUMERIC)] = raw[:, self._columns]
        tokens = raw[:, [OUTPUT_TOKENS, INPUT_TOKENS]]
        numbers[np.ix_(np.isnan(tokens).any(axis=1), np.flatnonzero(self._signals.numeric_given))] = np.nan
        flags = np.array([o.flags if o is not None else 0 for o in calls], np.int64)
        measured = np.array([o.measured if o is not None else 0 for o in calls], np.int64)
        is_call = np.array([o is not None for o in calls])
        return Batch(
            slots=slots,
            is_call=is_call,
            hashes=np.array([entry.event for entry in entries], np.uint64),
            salts=np.zeros((n, MAX_SCORES + MAX_CATEGORICAL_SCORES), np.uint64),
            times=np.array([entry.time for entry in entries], np.int64),
            scope_times=np.array([entry.scope_time for entry in entries], np.int64),
            numbers=numbers,
            binaries=self._binaries(flags, measured, is_call),
            codes=np.full((n, CATEGORICAL_COLUMNS), -1, np.int8),
            labels=np.zeros(n, np.uint16),
            flags=flags.astype(np.uint32),
            tokens=np.ascontiguousarray(tokens),
            alarms=np.zeros(n, np.bool_),
            repeated=np.zeros(n, np.bool_),
            stops=np.zeros(n, np.bool_),
            texts=self._texts.arrays(calls),
        )

    def _binaries(
        self, flags: npt.NDArray[np.int64], measured: npt.NDArray[np.int64], is_call: npt.NDArray[np.bool_]
    ) -> npt.NDArray[np.int8]:
        """Yes 1, no 0, not measured -1; coverage is measured on calls that did not fail."""
        columns = [_said(flags, k) for k in range(FLAG_COLUMNS)]
        succeeded = columns[0] != 1
        columns += [np.where(is_call & succeeded, (measured >> k) & 1, -1) for k in range(len(GROUPS))]
        binaries = np.stack(columns, 1).astype(np.int8)
        binaries[:, ~self._on_binary] = -1
        return binaries

    def _label(self, encoded: Encoded) -> None:
        """Look the labels of every call up; new categories get their detectors when the kernel reaches them."""
        batch = encoded.batch
        codes = []
        absent = b"\xff" * CATEGORICAL_COLUMNS
        for e, entry in enumerate(encoded.entries):
            observation = entry.observation
            if observation is None:
                codes.append(absent)
                continue
            scope = entry.scope
            if entry.late:
                self._do_before(encoded, e, partial(scope.count, "late", entry.late))
            scope.encoded += 1
            known, new = scope.labels.look_up(observation, scope.encoded, self._keep_calls, self._off)
            codes.append(known.codes)
            batch.labels[e] = known.number
            for column, category in new:
                self._expect_category(encoded, e, column, category)
        batch.codes[:] = np.frombuffer(b"".join(codes), np.int8).reshape(len(codes), CATEGORICAL_COLUMNS)

    def _expect_category(self, encoded: Encoded, e: int, column: int, category: int) -> None:
        scope = encoded.entries[e].scope
        name = scope.labels.name(column, category)
        key = DetectorKey("categorical", column, category)

        def work() -> None:
            if self._bank.of(key).row(scope.slot, key) >= 0:
                self._forget(scope, key)
                self._bank.categorical.remove(scope.slot, key)
            earlier = [known for known in scope.names if (known.kind, known.column) == (key.kind, column)]
            scope.names[key] = name
            if not earlier:  # the first category of the signal: nothing to bet on until there is another
                return
            if len(earlier) == 1 and self._bank.categorical.row(scope.slot, earlier[0]) < 0:
                self._bank.categorical.add_first(scope.slot, earlier[0])
            self._bank.add(scope.slot, key)
            if column < len(CATEGORICAL) and self._bank.categorical.events[scope.slot, column] > 0:
                scope.first_seen.setdefault(CATEGORICAL[column].name, []).append(name)

        self._do_before(encoded, e, work)

    def _do_before(self, encoded: Encoded, e: int, work: Work) -> None:
        encoded.work.setdefault(e, []).append(work)
        encoded.batch.stops[e] = True

    def _score(self, encoded: Encoded) -> None:
        """Scores inside calls, and those that came later, go to the columns of their scope."""
        for e, entry in enumerate(encoded.entries):
            if entry.score is not None:
                score = entry.score
                self._put_score(encoded, e, f"score.{score.evaluator}.{score.name}", score.value)
            elif entry.observation is not None and entry.observation.scores:
                for name, value in entry.observation.scores.items():
                    self._put_score(encoded, e, f"score.{INLINE}.{name}", value)

    def _put_score(self, encoded: Encoded, e: int, name: str, value: float | str) -> None:
        scope = encoded.entries[e].scope
        spec = self._signals.score(name, categorical=isinstance(value, str))
        if spec.weight == 0.0:
            return
        numeric = not isinstance(value, str)
        names = scope.scores if numeric else scope.categorical_scores
        fixed, most = (len(NUMERIC), MAX_SCORES) if numeric else (len(CATEGORICAL), MAX_CATEGORICAL_SCORES)
        if name not in names:
            if len(names) >= most:
                self._do_before(encoded, e, partial(scope.count, "scores_left_out"))
                return
            names[name] = fixed + len(names)
        column = names[name]
        encoded.batch.salts[e, column - fixed + (0 if numeric else MAX_SCORES)] = hash64(name)
        if isinstance(value, str):
            category, new = scope.labels.code(column, value[:128], scope.encoded, self._keep_calls)
            encoded.batch.codes[e, column] = category
            if new:
                self._expect_category(encoded, e, column, category)
        else:
            encoded.batch.numbers[e, column] = value

    def _alarm(self, encoded: Encoded) -> None:
        """Feed River's detectors, where signals name them; their alarms make the kernel stop."""
        if self._river or self._river_binary:
            new = self._new_calls(encoded.batch)
            for c, signal in self._river:
                self._feed(encoded, DetectorKey("numeric", c), signal, encoded.batch.numbers[:, c], new)
            for c, signal in self._river_binary:
                if c < FLAG_COLUMNS:
                    said = _said(encoded.batch.flags.astype(np.int64), c)
                    self._feed(encoded, DetectorKey("binary", c), signal, np.where(said < 0, np.nan, said), new)
        encoded.batch.numbers[:, : len(NUMERIC)][:, self._silent] = np.nan

    def _new_calls(self, batch: Batch) -> npt.NDArray[np.bool_]:
        """Entries that are calls, less those that the kernel will find to repeat an id: nobody learns from these."""
        new = batch.is_call.copy()
        calls = np.flatnonzero(new)
        for own in np.split(calls, np.flatnonzero(np.diff(batch.slots[calls])) + 1):
            if len(own):
                new[own] = np.logical_not(
                    self._bank.history.repeats(int(batch.slots[own[0]]), batch.hashes[own].tolist())
                )
        return new

    def _feed(
        self,
        encoded: Encoded,
        key: DetectorKey,
        signal: Signal,
        values: npt.NDArray[np.float64],
        new: npt.NDArray[np.bool_],
    ) -> None:
        for e in np.flatnonzero(new & ~np.isnan(values)).tolist():
            slot = encoded.entries[e].scope.slot
            evidence = self._bank.river.update(slot, signal.name, str(signal.river), float(values[e]))
            if evidence is not None:
                encoded.alarms.setdefault(e, []).append((key, evidence))
                encoded.batch.alarms[e] = True

    def _prepare_rows(self, encoded: Encoded) -> None:
        """New detectors, made when the kernel reaches the call.

        For numbers that are measured for the first time, and yes/no signals that say the other for the first time.
        """
        batch, bank = encoded.batch, self._bank
        expected: set[tuple[int, int]] = set()
        for e, column in np.argwhere(~np.isnan(batch.numbers) & (bank.numeric.rows[batch.slots] < 0)).tolist():
            slot = int(batch.slots[e])
            if (slot, column) not in expected:
                expected.add((slot, column))
                self._do_before(encoded, e, partial(bank.add, slot, DetectorKey("numeric", column)))
        expected = set()
        said = batch.binaries
        news = (said >= 0) & (said != bank.binary.first[batch.slots]) & (bank.binary.rows[batch.slots] < 0)
        for e, column in np.argwhere(news).tolist():
            slot = int(batch.slots[e])
            if bank.binary.first[slot, column] < 0:
                bank.binary.first[slot, column] = said[e, column]
            elif said[e, column] != bank.binary.first[slot, column] and (slot, column) not in expected:
                expected.add((slot, column))
                self._do_before(encoded, e, partial(bank.add, slot, DetectorKey("binary", column)))


def _said(flags: npt.NDArray[np.int64], k: int) -> npt.NDArray[np.int64]:
    """Flag k of every call: yes 1, no 0, not measured -1 (also where the bits mean nothing)."""
    bits = (flags >> 2 * k) & 3
    return np.where(bits == 3, -1, bits - 1)
