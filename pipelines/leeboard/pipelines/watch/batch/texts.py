"""The texts of calls as arrays, with the work that comes with them: first rows, another embedder, another counting."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Protocol

import numpy as np
import numpy.typing as npt
from leeboard.detectors.vector.store import FIT_EVENTS
from leeboard.pipelines.signals import BINARY, CATEGORICAL, NUMERIC, Signal
from leeboard.pipelines.watch.columns import Signals
from leeboard.pipelines.watch.families.bank import Bank
from leeboard.pipelines.watch.state.keys import DetectorKey
from leeboard.pipelines.watch.state.layout import Batch
from leeboard.pipelines.watch.state.scope import Scope, TextsSeen
from leeboard.pipelines.watch.texts.rows import (
    COLUMNS,
    INPUT_FEATURES,
    INPUT_STYLE,
    INPUT_VECTOR,
    OUTPUT_FEATURES,
    OUTPUT_STYLE,
    STYLE_ENTRIES,
    TEXT_FEATURES,
    TextBatch,
)
from leeboard.pipelines.watch.texts.signals import (
    CONDITIONAL,
    CONTENT,
    DIRECTIONS,
    INPUT_PARTS,
    OUTPUT_PARTS,
    PARTS_CALL,
    STARTING,
    STYLE_COLUMN,
    has_enough,
)
from leeboard.schemas import Observation, TextMeasures

#: calls in a row with another embedder, or counted in another way, until the baselines start anew. While workers are
#: replaced one by one both kinds come; of as many of one as of the other, so many in a row come once in a million calls
SWITCH_CALLS = 20
#: bits of a side
_OUTPUT, _INPUT = OUTPUT_FEATURES | OUTPUT_STYLE, INPUT_FEATURES | INPUT_STYLE | INPUT_VECTOR


def _column(signals: Sequence[Signal], name: str) -> int:
    return next(column for column, signal in enumerate(signals) if signal.name == name)


#: the number that is made of vectors
RELEVANCE = _column(NUMERIC, "relevance")
#: what else is counted in texts, and means something else in another version
REPETITION, REFUSAL = _column(NUMERIC, "repetition"), _column(BINARY, "refusal")
LANGUAGES = [_column(CATEGORICAL, name) for name in ("input_language", "output_language")]
_NO_FEATURES, _NO_STYLE, _NO_VECTOR = bytes(4 * TEXT_FEATURES), bytes(STYLE_ENTRIES), bytes(COLUMNS)
#: texts of a side at which signals may begin
_DUE = frozenset((PARTS_CALL, FIT_EVENTS))
Work = Callable[[], None]


class Call(Protocol):
    """An entry of a batch, as far as texts are concerned."""

    scope: Scope
    observation: Observation | None


class TextEncoder:
    """Writes the texts of a batch; `forget`: the incident of a scope forgets a detector."""

    def __init__(self, bank: Bank, signals: Signals, forget: Callable[[Scope, DetectorKey], None]) -> None:
        self._bank = bank
        self._forget = forget
        self._on = [signal.weight > 0.0 for signal in signals.text]

    def arrays(self, calls: Sequence[Observation | None]) -> TextBatch:
        """What was measured of the texts of calls; empty arrays where none has any."""
        outputs = [call.output if call is not None else None for call in calls]
        inputs = [call.input if call is not None else None for call in calls]
        out, into = ([_bits(side) for side in sides] for sides in (outputs, inputs))
        # an output's vector is no coordinate of its own: what it says beyond the style is its topic, the input's affair
        measured = [o & _OUTPUT | i << 2 for o, i in zip(out, into, strict=True)]
        if not any(measured):
            outputs, inputs = [], []
        return TextBatch(
            np.array(measured, np.uint8),
            _features(outputs),
            _style(outputs),
            np.array([side.tokens if side is not None else 0 for side in outputs], np.int64),
            _features(inputs),
            _style(inputs),
            _vectors(inputs),
            np.array([side.scale if side is not None else 0.0 for side in inputs], np.float32),
        )

    def follow(self, entries: Sequence[Call], batch: Batch) -> Iterator[tuple[int, Work]]:
        """The work before entries; clears in the batch what cannot be compared with the baselines."""
        texts = batch.texts
        counts: dict[int, tuple[int, int]] = {}
        for e in np.flatnonzero(texts.measured).tolist():
            scope, call = entries[e].scope, entries[e].observation
            assert call is not None
            outputs, inputs = counts.get(scope.slot, (0, 0))
            has_output, has_input = (bool(texts.measured[e] & bit) for bit in (OUTPUT_FEATURES, INPUT_FEATURES))
            counts[scope.slot] = outputs + has_output, inputs + has_input
            for work in self._follow(scope, call, e, batch):
                yield e, work
        for slot, (outputs, inputs) in counts.items():
            self._bank.text.bank.expect(slot, outputs, inputs)

    def _follow(self, scope: Scope, call: Observation, e: int, batch: Batch) -> Iterator[Work]:
        embedder = call.input.embedder if call.input is not None else None
        seen = scope.texts
        if seen is None:
            seen = scope.texts = TextsSeen(version=call.text_version, embedder=embedder)
            yield partial(self._bank.text.bank.begin, scope.slot, vectors=embedder is not None)
        if call.text_version != seen.version:
            if not _switched_version(seen, call.text_version):
                batch.texts.measured[e] = 0
                batch.numbers[e, REPETITION] = np.nan
                batch.binaries[e, REFUSAL] = -1
                batch.codes[e, LANGUAGES] = -1
                return
            yield partial(self._restart, scope, ("outputs", "inputs"), features=True, vectors=seen.embedder is not None)
            yield partial(self._restart_counted, scope)
        else:
            seen.other_version_calls = 0
        if embedder is not None and embedder != seen.embedder:
            if _switched_embedder(seen, embedder):
                yield partial(self._restart, scope, ("inputs",), features=False, vectors=True)
            else:
                batch.texts.measured[e] &= 255 - INPUT_VECTOR
                batch.numbers[e, RELEVANCE] = np.nan
        elif embedder is not None:
            seen.other_embedder_calls = 0
        yield from self._count(scope, seen, int(batch.texts.measured[e]))

    def _count(self, scope: Scope, seen: TextsSeen, measured: int) -> Iterator[Work]:
        """Count a call's texts; detectors are made when there is enough for them to begin with."""
        before = seen.outputs, seen.inputs
        seen.outputs += bool(measured & OUTPUT_FEATURES)
        seen.inputs += bool(measured & INPUT_FEATURES)
        if not _DUE.intersection((seen.outputs, seen.inputs)):
            return
        due = [s for s in STARTING if has_enough(s, seen.outputs, seen.inputs) and not has_enough(s, *before)]
        if any(column in DIRECTIONS for column in due):
            yield partial(self._bank.text.bank.add_store, scope.slot)
        for column in due:
            if self._on[column]:
                yield partial(self._bank.text.start, scope.slot, DetectorKey("text", column))

    def _restart(self, scope: Scope, sides: tuple[str, ...], *, features: bool, vectors: bool) -> None:
        """Baselines of these sides start anew; what moved meanwhile is not reported as a change."""
        bank, slot = self._bank, scope.slot
        columns = {"outputs": [STYLE_COLUMN, CONDITIONAL], "inputs": [CONTENT, CONDITIONAL]}
        own = {"outputs": OUTPUT_PARTS, "inputs": INPUT_PARTS}
        chosen = {column for side in sides for column in (*columns[side], *([own[side]] if features else []))}
        keys = [DetectorKey("text", column) for column in sorted(chosen)]
        if not features:
            keys.append(DetectorKey("numeric", RELEVANCE))
        self._release(scope, keys)
        for side in sides:
            bank.text.restart(slot, side, features=features, vectors=vectors)

    def _restart_counted(self, scope: Scope) -> None:
        """The same for what else is counted in texts."""
        bank, slot = self._bank, scope.slot
        keys = [DetectorKey("numeric", REPETITION), DetectorKey("binary", REFUSAL)]
        keys += [key for key in bank.keys(slot) if key.kind == "categorical" and key.column in LANGUAGES]
        self._release(scope, keys)
        bank.binary.forget_constant(slot, REFUSAL)
        for column in LANGUAGES:
            bank.categorical.forget_constant(slot, column)

    def _release(self, scope: Scope, keys: Sequence[DetectorKey]) -> None:
        for key in keys:
            if self._bank.of(key).row(scope.slot, key) >= 0:
                self._forget(scope, key)
                self._bank.of(key).release(scope.slot, key)


def _switched_version(seen: TextsSeen, version: str | None) -> bool:
    seen.other_version_calls = seen.other_version_calls + 1 if version == seen.other_version else 1
    seen.other_version = version
    if seen.other_version_calls < SWITCH_CALLS:
        return False
    seen.version, seen.other_version, seen.other_version_calls = version, None, 0
    return True


def _switched_embedder(seen: TextsSeen, embedder: str) -> bool:
    seen.other_embedder_calls = seen.other_embedder_calls + 1 if embedder == seen.other_embedder else 1
    seen.other_embedder = embedder
    if seen.other_embedder_calls < SWITCH_CALLS:
        return False
    seen.embedder, seen.other_embedder, seen.other_embedder_calls = embedder, None, 0
    return True


def _bits(side: TextMeasures | None) -> int:
    """Features 1, style 2, vector 4: what of a text can be used; anything of a wrong size is taken for missing."""
    if side is None or side.features is None or len(side.features) < 4 * TEXT_FEATURES:
        return 0
    bits = 1
    if side.style is not None and len(side.style) == STYLE_ENTRIES:
        bits |= 2
    if side.vector is not None:
        bits |= 4
    return bits


def _features(sides: Sequence[TextMeasures | None]) -> npt.NDArray[np.float32]:
    width = 4 * TEXT_FEATURES
    parts = [side.features[:width] if side is not None and side.features else _NO_FEATURES for side in sides]
    raw = bytearray().join(part if len(part) == width else _NO_FEATURES for part in parts)
    return np.frombuffer(raw, "<f4").reshape(-1, TEXT_FEATURES)


def _style(sides: Sequence[TextMeasures | None]) -> npt.NDArray[np.uint8]:
    parts = [side.style if side is not None and side.style else _NO_STYLE for side in sides]
    raw = bytearray().join(part if len(part) == STYLE_ENTRIES else _NO_STYLE for part in parts)
    return np.frombuffer(raw, np.uint8).reshape(-1, STYLE_ENTRIES)


def _vectors(sides: Sequence[TextMeasures | None]) -> npt.NDArray[np.int8]:
    parts = [side.vector[:COLUMNS] if side is not None and side.vector else _NO_VECTOR for side in sides]
    return np.frombuffer(bytearray().join(part.ljust(COLUMNS, b"\0") for part in parts), np.int8).reshape(-1, COLUMNS)
