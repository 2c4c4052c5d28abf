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
from leeboard.detectors.core.jit import Record
from leeboard.detectors.river import RiverDetector
from leeboard.pipelines.watch.families.bank import Bank, DetectorKey
from leeboard.pipelines.watch.texts.codec import put_texts, text_parts
from msgspec import Struct

from .arenas import Rows
from .labels import Combination, Labels
from .layout import CHUNK, ID_CHUNK
from .records import detector_bytes, record_bytes, record_of
from .scope import RECENT_IDS, Announced, Incident, RecentId, Scope, TextsSeen

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

    place: DetectorKey
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
        "detectors": _pack(DetectorsPart(VERSION, [_detector_part(bank, slot, place) for place in bank.places(slot)])),
    }
    calls = int(bank.scopes.array[slot]["calls"])
    for name, rows, chunks, size in _rings(bank):
        for k in _touched(after_call, calls, size, chunks.shape[1]):
            chunk = rows.array[chunks[slot, k]].tobytes()
            parts[f"{name}.{k}"] = zlib.compress(chunk, LEVEL) if name == "ring" else chunk
    return parts | text_parts(bank.texts, slot, after_call, LEVEL)


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
        bank.binary_events[slot] = np.frombuffer(part.binary_events, np.int64)
        bank.binary_first[slot] = np.frombuffer(part.binary_first, np.int8)
        bank.category_events[slot] = np.frombuffer(part.category_events, np.int64)
        if part.texts is not None:
            put_texts(bank.texts, slot, part.texts, parts)
        for detector in detectors.detectors:
            _put_detector(bank, slot, detector)
        bank.reserve(slot, int(bank.scopes.array[slot]["calls"]))
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
    return [("ring", bank.ring, bank.ring_chunks, CHUNK), ("ids", bank.ids, bank.id_chunks, ID_CHUNK)]


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
        bank.binary_events[scope.slot].tobytes(),
        bank.binary_first[scope.slot].tobytes(),
        bank.category_events[scope.slot].tobytes(),
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


def _detector_part(bank: Bank, slot: int, place: DetectorKey) -> DetectorPart:
    rows, frozen = bank.arenas(place)
    record = bank.record(slot, place)
    regressions, r = bank.regression(slot, place)
    k = max(int(record["frozen"]), int(record["retained"]))
    return DetectorPart(
        place,
        detector_bytes(rows.array, bank.row(slot, place)),
        record_bytes(regressions.array, r) if r >= 0 else None,
        detector_bytes(rows.array, int(record["watcher"])) if record["watcher"] >= 0 else None,
        record_bytes(frozen.array, k) if k >= 0 else None,
    )


def _put_detector(bank: Bank, slot: int, part: DetectorPart) -> None:
    """Make a detector again; what it points to gets other row numbers."""
    bank.add(slot, part.place)
    rows, frozen = bank.arenas(part.place)
    regressions, r = bank.regression(slot, part.place)
    # everything is read before anything is written: row numbers of another engine must never stand in a row of ours
    row = record_of(part.row, rows.array.dtype)
    if part.regression is not None:
        regressions.array[r] = record_of(part.regression, regressions.array.dtype)
    watcher = record_of(part.watcher, rows.array.dtype) if part.watcher is not None else None
    reference = record_of(part.frozen, frozen.array.dtype) if part.frozen is not None else None
    if (row["watcher"] >= 0) != (watcher is not None) or (row["frozen"] >= 0 and watcher is None):
        raise ValueError("a watcher without its change")
    if (max(row["frozen"], row["retained"]) >= 0) != (reference is not None):
        raise ValueError("a yardstick without its change")
    i, k, j = bank.row(slot, part.place), -1, -1
    if reference is not None:
        k = frozen.take()
        frozen.array[k] = reference
    if watcher is not None:
        j = rows.take()
        rows.array[j] = watcher
        _point(rows.array[j], watcher, -1, k)
    rows.array[i] = row
    _point(rows.array[i], row, j, k)


def _point(record: Record, old: Record, watcher: int, frozen: int) -> None:
    """Let a row point to its watcher and frozen reference as they are numbered here, where it pointed to some."""
    record["watcher"] = watcher
    for name in ("frozen", "retained"):
        record[name] = frozen if old[name] >= 0 else -1
