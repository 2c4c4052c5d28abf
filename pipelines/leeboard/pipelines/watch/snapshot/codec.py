"""The state of a scope as named parts of bytes, and back: what a checkpoint writes and a restore reads.

Parts: `scope` (everything that is not an array, MessagePack), `detectors` (rows of the arenas), `ring.<k>` and
`ids.<k>` (chunks of the rings of recent calls and ids), and those of `text_codec` where the scope has texts. A chunk
changes only while the scope's newest calls are written to it, so a checkpoint that names the call number of the one
before gets only the chunks that were touched since. All parts but the ids (which are hashes) are compressed.
"""

import zlib
from typing import Any

import msgspec
import numpy as np
from leeboard.detectors.core.arenas import Rows, record_bytes, record_of
from leeboard.detectors.core.changes import Dump
from leeboard.detectors.river import RiverDetector
from leeboard.pipelines.watch.families.bank import Bank
from leeboard.pipelines.watch.state.keys import DetectorKey
from leeboard.pipelines.watch.state.labels import Combination, Labels
from leeboard.pipelines.watch.state.layout import CHUNK, ID_CHUNK
from leeboard.pipelines.watch.state.scope import RECENT_IDS, Announced, Incident, RecentId, Scope, TextsSeen
from msgspec import Struct

from .text_codec import put_texts, text_parts

#: level of compression: half the size at 1 ms a scope; higher levels gain 2 %
LEVEL = 1
#: version of the parts; a restore reads this one and the one before (there is none before 1)
VERSION = 1


class StateError(ValueError):
    """Parts that are no state of this engine."""


class ScopePart(Struct, array_like=True):
    """What of a scope is not an array."""

    version: int
    fingerprint: str
    key: str
    first_call: str
    encoded: int
    time: int
    categories: list[dict[str, int]]
    combinations: list[tuple[Any, Combination]]
    wild: list[str]
    window: dict[str, list[str]]
    window_start: int
    scores: dict[str, int]
    categorical_scores: dict[str, int]
    recent: list[RecentId]
    counts: dict[str, int]
    names: list[tuple[DetectorKey, str]]
    retained: list[tuple[DetectorKey, int]]
    incident: Incident | None
    closed: list[Incident]
    deploys: list[Announced]
    muted_until: int
    summary_time: int
    summary_calls: int
    first_seen: dict[str, list[str]]
    river: dict[str, bytes]
    texts: TextsSeen | None
    applied: int
    #: the kernel's record of the scope, and what it knows of every yes/no and categorical signal
    record: bytes
    binary_events: bytes
    binary_first: bytes
    category_events: bytes


class DetectorPart(Struct, array_like=True):
    """One detector: its row, and the rows that it points to."""

    key: DetectorKey
    row: bytes
    regression: bytes | None
    watcher: bytes | None
    frozen: bytes | None


class DetectorsPart(Struct, array_like=True):
    """All detectors of a scope."""

    version: int
    detectors: list[DetectorPart]


def snapshot(bank: Bank, scope: Scope, fingerprint: str, after_call: int = 0) -> dict[str, bytes]:
    """The parts of a scope that changed after call number `after_call` of it (0: all parts)."""
    slot = scope.slot
    parts = {
        "scope": _pack(_scope_part(bank, scope, fingerprint)),
        "detectors": _pack(DetectorsPart(VERSION, [_detector_part(bank, slot, key) for key in bank.keys(slot)])),
    }
    calls = int(bank.scopes.array[slot]["calls"])
    for name, rows, chunks, size in _rings(bank):
        for k in _touched(after_call, calls, size, chunks.shape[1]):
            chunk = rows.array[chunks[slot, k]].tobytes()
            parts[f"{name}.{k}"] = zlib.compress(chunk, LEVEL) if name == "ring" else chunk
    return parts | text_parts(bank.text.bank, slot, after_call, LEVEL)


def restore(bank: Bank, parts: dict[str, bytes], fingerprint: str) -> Scope:
    """Take a scope back from all its parts. Raises StateError where they are no state of this engine."""
    try:
        part = msgspec.msgpack.decode(zlib.decompress(parts["scope"]), type=ScopePart)
        detectors = msgspec.msgpack.decode(zlib.decompress(parts["detectors"]), type=DetectorsPart)
    except (KeyError, ValueError, zlib.error, msgspec.MsgspecError) as error:
        raise StateError(f"not the state of a scope: {error}") from None
    if part.version != VERSION or detectors.version != VERSION:
        raise StateError(f"state of version {part.version}, this engine reads {VERSION}")
    if part.fingerprint != fingerprint:
        raise StateError(f"state of another configuration: {part.fingerprint}, this is {fingerprint}")
    slot = bank.add_scope()
    try:
        scope = _scope(part, slot)
        bank.scopes.array[slot] = record_of(part.record, bank.scopes.array.dtype)
        bank.binary.events[slot] = np.frombuffer(part.binary_events, np.int64)
        bank.binary.first[slot] = np.frombuffer(part.binary_first, np.int8)
        bank.categorical.events[slot] = np.frombuffer(part.category_events, np.int64)
        if part.texts is not None:
            put_texts(bank.text.bank, slot, part.texts, parts)
        for detector in detectors.detectors:
            _put_detector(bank, slot, detector)
        bank.history.reserve(slot, int(bank.scopes.array[slot]["calls"]))
        for name, rows, chunks, _ in _rings(bank):
            for k in np.flatnonzero(chunks[slot] >= 0).tolist():
                row = rows.array[chunks[slot, k]]
                chunk = parts[f"{name}.{k}"]
                row[...] = np.frombuffer(zlib.decompress(chunk) if name == "ring" else chunk, rows.array.dtype)
    except (KeyError, ValueError, IndexError, zlib.error) as error:
        bank.drop_scope(slot)
        raise StateError(f"{part.key}: a part is missing or has the wrong size: {error}") from None
    return scope


def _pack(part: Struct) -> bytes:
    return zlib.compress(msgspec.msgpack.encode(part), LEVEL)


def _rings(bank: Bank) -> list[tuple[str, Rows, Any, int]]:
    history = bank.history
    return [("ring", history.ring, history.ring_chunks, CHUNK), ("ids", history.ids, history.id_chunks, ID_CHUNK)]


def _touched(after_call: int, calls: int, size: int, chunks: int) -> list[int]:
    """Chunks of a ring that calls after number `after_call` were written to."""
    if calls <= after_call:
        return []
    first, last = after_call // size, (calls - 1) // size
    return sorted({k % chunks for k in range(max(first, last - chunks + 1), last + 1)})


def _scope_part(bank: Bank, scope: Scope, fingerprint: str) -> ScopePart:
    labels = scope.labels
    return ScopePart(
        VERSION,
        fingerprint,
        scope.key,
        scope.first_call,
        scope.encoded,
        scope.time,
        labels.categories,
        list(labels.combinations.items()),
        sorted(labels.wild),
        {label: sorted(values) for label, values in labels.window.items()},
        labels.window_start,
        scope.scores,
        scope.categorical_scores,
        list(scope.recent),
        scope.counts,
        list(scope.names.items()),
        list(scope.retained.items()),
        scope.incident,
        scope.closed,
        scope.deploys,
        scope.muted_until,
        scope.summary_time,
        scope.summary_calls,
        scope.first_seen,
        {name: detector.snapshot() for name, detector in scope.river.items()},
        scope.texts,
        scope.applied,
        record_bytes(bank.scopes.array, scope.slot),
        bank.binary.events[scope.slot].tobytes(),
        bank.binary.first[scope.slot].tobytes(),
        bank.categorical.events[scope.slot].tobytes(),
    )


def _scope(part: ScopePart, slot: int) -> Scope:
    labels = Labels(
        categories=part.categories,
        combinations={_key(key): known for key, known in part.combinations},
        wild=set(part.wild),
        window={label: set(values) for label, values in part.window.items()},
        window_start=part.window_start,
    )
    scope = Scope(part.key, slot, part.first_call, part.encoded, part.time, labels)
    for name in ("scores", "categorical_scores", "counts", "incident", "closed", "deploys", "muted_until"):
        setattr(scope, name, getattr(part, name))
    for name in ("summary_time", "summary_calls", "first_seen", "texts", "applied"):
        setattr(scope, name, getattr(part, name))
    scope.recent.extend(part.recent[-RECENT_IDS:])
    scope.names = dict(part.names)
    scope.retained = dict(part.retained)
    for name, state in part.river.items():
        scope.river[name] = RiverDetector.from_snapshot(state)
    return scope


def _key(key: Any) -> Any:
    """A combination's key: nested tuples, which MessagePack turned into lists."""
    return tuple(_key(item) for item in key) if isinstance(key, list) else key


def _detector_part(bank: Bank, slot: int, key: DetectorKey) -> DetectorPart:
    family = bank.of(key)
    dump = family.changes(key.column).dump(family.row(slot, key))
    regression = family.regression(slot, key)
    return DetectorPart(key, dump.row, record_bytes(*regression) if regression else None, dump.watcher, dump.frozen)


def _put_detector(bank: Bank, slot: int, part: DetectorPart) -> None:
    """Make a detector again; what it points to gets other row numbers."""
    family = bank.of(part.key)
    family.add(slot, part.key)
    if part.regression is not None:
        regression = family.regression(slot, part.key)
        if regression is None:
            raise ValueError("a regression that the signal does not have")
        rows, r = regression
        rows[r] = record_of(part.regression, rows.dtype)
    family.changes(part.key.column).load(family.row(slot, part.key), Dump(part.row, part.watcher, part.frozen))
