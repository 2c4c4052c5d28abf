"""The fold of one partition of `calls`: observations and controls through the engine, alerts and summaries out.

Two markers stand beside the state of the scopes. `done`: outputs of all records before it are published. `base`: where
a restore begins to read; the stored state of every scope contains at least all its records before that. Between both, a
restored fold applies again what the state of a scope does not contain yet (`Scope.applied`), and publishes nothing.
"""

import logging
from collections.abc import Iterable, Mapping, Sequence
from operator import itemgetter

import msgspec
from leeboard.pipelines.numerics import numerics_tag
from leeboard.pipelines.topics import TopicSettings
from leeboard.pipelines.watch.engine import Engine, EngineRecord
from leeboard.pipelines.watch.settings import EngineSettings
from leeboard.pipelines.watch.snapshot.codec import StateError
from leeboard.schemas import Alert, Observation, Refused, Reject, Summary, encode, reject
from msgspec import Struct

from .envelope import (
    BASE_KEY,
    DONE_KEY,
    PART_SEPARATOR,
    BaseMarker,
    DoneMarker,
    alert_headers,
    scope_of_key,
)
from .fold import BEYOND_ALL_OFFSETS, EngineFailed, IncomingRecord, OutgoingRecord, UnreadableState
from .incoming import Watermarks, decode_measured

log = logging.getLogger(__name__)

#: positions whose watermarks are saved, one a publish; beyond the limit every second one is dropped. `base` is one of
#: them: with fewer a restore reads more records again, nothing else
MAX_SAVED_POSITIONS = 64
#: offsets of records on which the engine failed, kept until `base` has passed them
MAX_FAILED_OFFSETS = 1000


class WrittenScope(Struct):
    """What the state topic holds of a scope."""

    #: first call of the scope when it was written; a scope that was dropped and opened again has another one
    first_call: str
    calls: int
    parts: set[str]


class WatchFold:
    """See `fold.Fold`. `keep_payload`: dead letters hold the bytes of the record."""

    def __init__(
        self, settings: EngineSettings, topics: TopicSettings, partition: int, *, keep_payload: bool = False
    ) -> None:
        self.next: int | None = None
        self.done = 0
        self.urgent = False
        self.engine = Engine(settings, numerics_tag())
        #: event time of the newest call, epoch ms
        self.newest_time = 0
        self._repeated = 0
        self._counted: dict[str, int] = {}
        self._topics = topics
        self._partition = partition
        self._keep_payload = keep_payload
        #: offset of the record that caused it, and what is to be published
        self._pending: list[tuple[int, OutgoingRecord]] = []
        self._published = -1
        self._watermarks = Watermarks()
        self._failed_offsets: set[int] = set()
        self._single_step_until = 0
        #: scope -> first offset that its written state does not contain, smallest first
        self._dirty: dict[str, int] = {}
        self._written: dict[str, WrittenScope] = {}
        #: positions from which a restore may read, each with its watermarks, oldest first
        self._saved_positions: list[tuple[int, dict[str, tuple[int, int]]]] = []
        self._base = -1

    def restore(self, items: Iterable[tuple[bytes, bytes | None]]) -> None:
        """Load the records of the state topic."""
        newest = dict(items)
        done, base = newest.pop(DONE_KEY, None), newest.pop(BASE_KEY, None)
        if done is None:
            return
        try:
            self._restore(done, base, newest)
        except (msgspec.MsgspecError, ValueError) as error:
            raise UnreadableState(f"{self._topics.state}: a marker cannot be decoded: {error}") from None

    def _restore(self, done: bytes, base: bytes | None, newest: dict[bytes, bytes | None]) -> None:
        self.done = msgspec.msgpack.decode(done, type=DoneMarker).next
        if base is None:
            return
        start = msgspec.msgpack.decode(base, type=BaseMarker)
        self.next, self._base = start.next, start.next
        self._watermarks, self._failed_offsets = Watermarks(start.sources), set(start.failed)
        self._saved_positions.append((start.next, self._watermarks.copy()))
        scopes: dict[str, dict[str, bytes]] = {}
        for key, value in newest.items():
            scope, _, part = key.decode().rpartition(PART_SEPARATOR)
            if value is not None:
                scopes.setdefault(scope, {})[part] = value
        for scope, parts in sorted(scopes.items()):
            try:
                restored = self.engine.restore(parts)
            except StateError as error:
                raise UnreadableState(f"{self._topics.state}: {scope}: {error}") from None
            self._note_written(scope, set(parts), whole=restored.same)
            if not restored.same:  # to be written anew as a whole, with the next slices
                self._dirty[scope] = start.next
        self._log_signals(len(scopes))

    def _log_signals(self, scopes: int) -> None:
        """Say which state of other builds could not be used."""
        dropped, new = self.engine.signals_dropped, self.engine.signals_new
        if dropped or new:
            log.warning(
                "partition %d: of %d restored scopes %d baselines are dropped (their signals are gone, switched off or "
                "kept differently), and %d signals are new; all others are kept",
                self._partition,
                scopes,
                dropped,
                new,
            )

    def begin(self, first: int, done: int) -> None:
        """Begin at `first`."""
        self.next = first
        self.done = max(self.done, done)
        self._saved_positions.append((first, {}))

    def skip(self, first: int) -> None:
        """Continue at `first`: the records before it are gone from the log."""
        self.next = first

    def single_step(self, until: int, dead_letter: Iterable[int]) -> None:
        """Apply records before `until` one by one."""
        self._single_step_until = until
        self._failed_offsets |= set(dead_letter)

    def contiguous_prefix(self, records: Sequence[IncomingRecord]) -> int:
        """Offsets of `calls` have no holes: it is never written in transactions, and never compacted."""
        assert self.next is not None
        if records[-1].offset < self.next:
            return len(records)
        if records[0].offset <= self.next and records[-1].offset - records[0].offset == len(records) - 1:
            return len(records)
        expected = self.next
        for index, record in enumerate(records):
            if record.offset > expected:
                return index
            expected = max(expected, record.offset + 1)
        return len(records)

    def apply(self, records: Sequence[IncomingRecord]) -> None:
        """Apply records in order."""
        assert self.next is not None
        batch: list[EngineRecord] = []
        offsets: list[int] = []
        for record in records:
            if record.offset < self.next:
                continue
            self.next = record.offset + 1
            if record.offset < self._single_step_until or record.offset in self._failed_offsets:
                self._step(batch, offsets)  # a dead letter must not overtake the records before it
                batch, offsets = [], []
            decoded = self._decode(record)
            if decoded is not None:
                batch.append(decoded)
                offsets.append(record.offset)
        self._step(batch, offsets)

    def publish(self) -> list[OutgoingRecord]:
        """Outputs and the marker `done`."""
        assert self.next is not None
        self.urgent = False
        if self.next <= self._published:
            return []
        records = [record for _, record in sorted(self._pending, key=itemgetter(0))]
        self._pending = []
        self.done = max(self.done, self.next)
        self._published = self.next
        self._saved_positions.append((self.next, self._watermarks.copy()))
        if len(self._saved_positions) > MAX_SAVED_POSITIONS:
            self._saved_positions = self._saved_positions[::2]
        marker = msgspec.msgpack.encode(DoneMarker(self.done))
        return [*records, OutgoingRecord(self._topics.state, DONE_KEY, marker, self._partition)]

    def state(self, before: int, limit_bytes: int) -> list[OutgoingRecord]:
        """Parts of the scopes that changed first, and the marker `base`."""
        records = self._tombstones()
        size = 0
        for key, first in list(self._dirty.items()):
            if first >= before or size >= limit_bytes:
                break
            parts = self._parts(key)
            size += sum(len(data) for data in parts.values() if data is not None)
            records += [self._part(key, name, data) for name, data in parts.items()]
            del self._dirty[key]
        point = self._restore_point()
        if point is None or (point[0] == self._base and not records):
            return records
        self._base = point[0]
        self._saved_positions = [saved for saved in self._saved_positions if saved[0] >= point[0]]
        self._failed_offsets = {offset for offset in self._failed_offsets if offset >= point[0]}
        marker = BaseMarker(point[0], point[1], sorted(self._failed_offsets)[-MAX_FAILED_OFFSETS:])
        return [
            *records,
            OutgoingRecord(self._topics.state, BASE_KEY, msgspec.msgpack.encode(marker), self._partition),
        ]

    def oldest_change(self) -> int:
        """The first offset that some scope's written state does not contain."""
        return next(iter(self._dirty.values()), BEYOND_ALL_OFFSETS)

    @property
    def base(self) -> int:
        """Where a restore would begin to read; 0 before any state was written."""
        return max(self._base, 0)

    def take_counts(self) -> dict[str, int]:
        """What was counted since the last call, by the name of its counter in the metrics."""
        counts = {
            "repeated": self._repeated,
            "evicted": self.engine.dropped,
            "signals_dropped": self.engine.signals_dropped,
            "signals_new": self.engine.signals_new,
        }
        since = {name: count - self._counted.get(name, 0) for name, count in counts.items()}
        self._counted = counts
        return since

    def _decode(self, record: IncomingRecord) -> EngineRecord | None:
        """The record for the engine; None if it is a repeat or a dead letter."""
        if self._watermarks.repeats(record):
            self._repeated += 1
            return None
        try:
            if record.offset in self._failed_offsets:
                self.engine.mark_degraded(scope_of_key(record.key), record.offset)
                raise Refused("engine_error", "the engine failed on this record; its scope is marked degraded")
            decoded = decode_measured(record)
        except Refused as refused:
            position = f"{self._topics.calls}/{self._partition}/{record.offset}"
            rejected = reject(record.value or b"", refused, position, payload=self._keep_payload)
            self._dead_letter(record.offset, rejected)
            return None
        if isinstance(decoded, Observation):
            self.newest_time = max(self.newest_time, decoded.time)
        return decoded

    def _step(self, batch: list[EngineRecord], offsets: list[int]) -> None:
        if not batch:
            return
        try:
            outputs = self.engine.step(batch, offsets)
        except Exception as error:
            raise EngineFailed(offsets, error) from error
        for record, offset in zip(batch, offsets, strict=True):
            if isinstance(record, Observation):
                self._dirty.setdefault(record.scope, offset)
            else:
                for key in self.engine.named_by(record):
                    self._dirty.setdefault(key, offset)
        for output in outputs:
            if isinstance(output.record, Alert):
                self._alert(output.position, output.record)
            elif isinstance(output.record, Summary):
                summary = output.record
                sent = OutgoingRecord(self._topics.summaries, summary.scope.encode(), encode(summary))
                self._add(output.position, sent)
            else:
                self._dead_letter(output.position, output.record)

    def _alert(self, position: int, alert: Alert) -> None:
        key, data = alert.dedup_key.encode(), encode(alert)
        headers = alert_headers(alert, self._partition, position)
        self.urgent |= position >= self.done
        self._add(position, OutgoingRecord(self._topics.alerts, key, data, headers=headers))
        self._add(position, OutgoingRecord(self._topics.alert_state, key, data, headers=headers))

    def _dead_letter(self, position: int, rejected: Reject) -> None:
        key, data = rejected.position.encode(), encode(rejected)
        self._add(position, OutgoingRecord(self._topics.dead_letters, key, data))

    def _add(self, position: int, record: OutgoingRecord) -> None:
        """Publish a record, unless that was done before the state was restored."""
        if position >= self.done:
            self._pending.append((position, record))

    def _parts(self, key: str) -> Mapping[str, bytes | None]:
        """What changed of a scope since it was written; None for parts that one written as a whole no longer has."""
        scope = self.engine.scopes[key]
        known = self._written.get(key, WrittenScope(scope.first_call, 0, set()))
        after = known.calls if known.first_call == scope.first_call else 0
        parts = self.engine.snapshot(key, after)
        gone = known.parts - parts.keys() if after == 0 else set()
        self._note_written(key, (known.parts | parts.keys()) - gone)
        return {**parts, **dict.fromkeys(sorted(gone))}

    def _note_written(self, key: str, parts: set[str], *, whole: bool = True) -> None:
        """The state topic holds these parts of a scope; `whole`: what changes from now on may stand beside them."""
        scope = self.engine.scopes[key]
        calls = int(self.engine.bank.scopes.array[scope.slot]["calls"]) if whole else 0
        self._written[key] = WrittenScope(scope.first_call, calls, parts)

    def _tombstones(self) -> list[OutgoingRecord]:
        """Scopes that the engine dropped leave the state topic."""
        records = []
        for key in [key for key in self._written if key not in self.engine.scopes]:
            records += [self._part(key, name, None) for name in sorted(self._written.pop(key).parts)]
        for key in [key for key in self._dirty if key not in self.engine.scopes]:
            del self._dirty[key]
        return records

    def _part(self, key: str, name: str, data: bytes | None) -> OutgoingRecord:
        return OutgoingRecord(self._topics.state, f"{key}{PART_SEPARATOR}{name}".encode(), data, self._partition)

    def _restore_point(self) -> tuple[int, dict[str, tuple[int, int]]] | None:
        """The newest saved position before which all written state is complete."""
        complete = min(self.oldest_change(), self.next if self.next is not None else 0)
        found = None
        for saved in self._saved_positions:
            if saved[0] <= complete:
                found = saved
        return found
