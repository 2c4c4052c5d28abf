"""The state of a scope as named parts of bytes, and back: what a checkpoint writes and a restore reads.

Parts: `scope` (everything that is not an array, MessagePack), `detectors` (rows of the arenas), `signals` (the
catalogue of the build that wrote them, see `catalogue`), `ring.<k>` and `ids.<k>` (chunks of the rings of recent calls
and of their ids), and those of `text_codec` where the scope has texts. All but the ids (which are hashes) are
compressed.

A chunk changes only while the scope's newest calls are written to it, so a checkpoint that names the call number of the
one before gets only the chunks that were touched since, and no catalogue. Only parts of one catalogue may stand beside
each other: a scope that was taken over from another one is written anew, with all its parts (see `takeover.Restored`).

`scope` begins with the version of the format. READERS make of each version that is read what the newest one holds.
"""

import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
from leeboard.detectors.core.arenas import Rows, record_bytes
from leeboard.pipelines.signals import CHANNELS
from leeboard.pipelines.watch.families.bank import Bank
from leeboard.pipelines.watch.settings import EngineSettings
from leeboard.pipelines.watch.state.keys import DetectorKey
from leeboard.pipelines.watch.state.layout import CHUNK, ID_CHUNK, SCOPE
from leeboard.pipelines.watch.state.scope import RecentId, Scope
from msgspec import Struct
from msgspec.structs import replace

from .catalogue import Catalogue, make_catalogue
from .text_codec import text_parts

#: level of compression: half the size at 1 ms a scope; higher levels gain 2 %
COMPRESSION_LEVEL = 1
#: version of the parts; the first one, of before the first release, held signals by their columns and is not read
VERSION = 2
#: fields of the kernel's record of a scope that are written as they are; the others hold a number for every channel
FIELDS = [name for name in SCOPE.names or () if name not in ("measured", "channel_nats")]


class StateError(ValueError):
    """Parts that are no state of this engine."""


class Envelope(Struct, array_like=True):
    """What the part `scope` of every version begins with."""

    version: int


class ScopePart(Struct, array_like=True):
    """What of a scope is not an array, and the small arrays."""

    version: int
    #: as the engine has it, but for the slot
    scope: Scope
    recent: list[RecentId]
    #: states of River's detectors, by signal
    river: dict[str, bytes]
    #: the kernel's record of the scope, by field
    record: dict[str, int | float | list[int]]
    #: how the budget of a channel is divided, by channel: sum of the weights of signals that were measured, and its log
    channels: dict[str, tuple[float, float]]
    #: events of every yes/no signal, and what it said first; events of every categorical one
    binary: list[tuple[int, int]]
    categorical: list[int]


class DetectorPart(Struct, array_like=True):
    """One detector: its row, and the rows that it points to."""

    key: DetectorKey
    row: bytes
    regression: bytes | None
    watcher: bytes | None
    frozen: bytes | None


@dataclass(frozen=True, slots=True)
class StoredParts:
    """A state as it was read, in the newest format; `parts` holds the arrays that are read where they are needed."""

    catalogue: Catalogue
    scope: ScopePart
    detectors: list[DetectorPart]
    parts: Mapping[str, bytes]


class Writer:
    """Writes the scopes of a bank."""

    def __init__(self, bank: Bank, settings: EngineSettings) -> None:
        self.catalogue = make_catalogue(bank, settings)
        self._bank = bank
        self._signals = _pack(self.catalogue)

    def snapshot(self, scope: Scope, after_call: int = 0) -> dict[str, bytes]:
        """The parts of a scope that changed after call number `after_call` of it (0: all parts)."""
        bank, slot = self._bank, scope.slot
        parts = {
            "scope": _pack(_scope_part(bank, scope)),
            "detectors": _pack([_detector_part(bank, slot, key) for key in bank.keys(slot)]),
        }
        if after_call == 0:
            parts["signals"] = self._signals
        calls = int(bank.scopes.array[slot]["calls"])
        for name, rows, chunks, size in rings(bank):
            for k in _touched(after_call, calls, size, chunks.shape[1]):
                chunk = rows.array[chunks[slot, k]].tobytes()
                parts[f"{name}.{k}"] = _packed(name, chunk)
        return parts | text_parts(bank.text.bank, slot, after_call, COMPRESSION_LEVEL)


def read(parts: Mapping[str, bytes]) -> StoredParts:
    """A state in the newest format. Raises StateError where the parts are none, or of a version that is not read."""
    try:
        scope = zlib.decompress(parts["scope"])
        version = msgspec.msgpack.decode(scope, type=Envelope).version
        if version in READERS:
            return READERS[version](scope, parts)
    except (KeyError, ValueError, zlib.error, msgspec.MsgspecError) as error:
        raise StateError(f"not the state of a scope: {error}") from None
    known = " and ".join(map(str, sorted(READERS)))
    raise StateError(f"state of version {version}; this release reads version {known}")


def _packed(name: str, chunk: bytes) -> bytes:
    """A chunk of a ring: hashes of ids cannot be compressed, so of these only the unused end is left out."""
    if name == "ring":
        return zlib.compress(chunk, COMPRESSION_LEVEL)
    used = chunk.rstrip(b"\0")
    return len(used).to_bytes(4, "little") + used


def unpacked(name: str, part: bytes, nbytes: int) -> bytes:
    """The chunk that `_packed` wrote, `nbytes` long. Raises ValueError or zlib.error where it was not written so."""
    if name == "ring":
        return zlib.decompress(part)
    used = part[4:]
    if len(part) < 4 or int.from_bytes(part[:4], "little") != len(used):
        raise ValueError(f"{name}: {len(used)} bytes are not as many as were written")
    return used.ljust(nbytes, b"\0")


def rings(bank: Bank) -> list[tuple[str, Rows, Any, int]]:
    """Name, rows, tables of chunks and size of a chunk of the rings of recent calls and of their ids."""
    history = bank.history
    return [("ring", history.ring, history.ring_chunks, CHUNK), ("ids", history.ids, history.id_chunks, ID_CHUNK)]


def _read(scope: bytes, parts: Mapping[str, bytes]) -> StoredParts:
    return StoredParts(
        msgspec.msgpack.decode(zlib.decompress(parts["signals"]), type=Catalogue),
        msgspec.msgpack.decode(scope, type=ScopePart),
        msgspec.msgpack.decode(zlib.decompress(parts["detectors"]), type=list[DetectorPart]),
        parts,
    )


#: version -> what reads it; besides the newest one the version before it, as soon as there is one that was released
READERS: dict[int, Callable[[bytes, Mapping[str, bytes]], StoredParts]] = {VERSION: _read}


def _pack(part: object) -> bytes:
    return zlib.compress(msgspec.msgpack.encode(part), COMPRESSION_LEVEL)


def _touched(after_call: int, calls: int, size: int, chunks: int) -> list[int]:
    """Chunks of a ring that calls after number `after_call` were written to."""
    if calls <= after_call:
        return []
    first, last = after_call // size, (calls - 1) // size
    return sorted({k % chunks for k in range(max(first, last - chunks + 1), last + 1)})


def _scope_part(bank: Bank, scope: Scope) -> ScopePart:
    slot = scope.slot
    record = bank.scopes.array[slot]
    budget = zip(record["measured"].tolist(), record["channel_nats"].tolist(), strict=True)
    return ScopePart(
        VERSION,
        replace(scope, slot=0),
        list(bank.history.recent(slot)),
        bank.river.dump(slot),
        {name: record[name].tolist() for name in FIELDS},
        dict(zip(CHANNELS, budget, strict=True)),
        list(zip(bank.binary.events[slot].tolist(), bank.binary.first[slot].tolist(), strict=True)),
        bank.categorical.events[slot].tolist(),
    )


def _detector_part(bank: Bank, slot: int, key: DetectorKey) -> DetectorPart:
    family = bank.of(key)
    dump = family.changes(key.column).dump(family.row(slot, key))
    regression = family.regression(slot, key)
    return DetectorPart(key, dump.row, record_bytes(*regression) if regression else None, dump.watcher, dump.frozen)
