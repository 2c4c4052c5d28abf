"""The fold of one partition of `calls`: observations and controls through the engine, alerts and summaries out.

Two markers stand beside the state of the scopes. `done`: outputs of all records before it are published. `base`: where
a restore reads on; every scope's state holds at least all its records before that. Between both, a restored fold
applies again what a scope's state does not hold yet (`Scope.applied`), and publishes nothing.
"""

import logging
from collections.abc import Iterable, Mapping, Sequence
from operator import itemgetter

import msgspec
from leeboard.pipelines.config import Config
from leeboard.pipelines.kafka.settings import TopicSettings
from leeboard.pipelines.numerics import numerics_tag
from leeboard.pipelines.watch.engine import Engine, Record
from leeboard.pipelines.watch.snapshot.codec import StateError
from leeboard.schemas import Alert, Observation, Refused, Reject, Summary, encode, reject
from msgspec import Struct

from .envelope import alert_headers, scope_of_key
from .fold import NEVER, EngineFailed, Incoming, Send, UnreadableState
from .incoming import Marks, measured

log = logging.getLogger(__name__)

DONE, BASE = b"#done", b"#base"
#: between scope and part in a key of the state topic; percent-encoded keys hold none
PART = "#"
#: positions of which the marks of the sources are known, one a publish; beyond it every second is forgotten. `base` is
#: one of them, so that few cost nothing but a longer way to read again
MAX_EPOCHS = 64
#: records set aside because the engine failed on them, kept until `base` has passed them
MAX_SET_ASIDE = 1000


class Done(Struct, array_like=True, frozen=True):
    """The marker `done`."""

    next: int


class Base(Struct, array_like=True, frozen=True):
    """The marker `base`."""

    next: int
    #: source -> offset and index of its newest record
    sources: dict[str, tuple[int, int]]
    set_aside: list[int]


class Written(Struct):
    """What the state topic holds of a scope."""

    #: the life of the scope that was written: another one has another first call
    first_call: str
    calls: int
    parts: set[str]


class WatchFold:
    """See `fold.Fold`."""

    def __init__(self, config: Config, topics: TopicSettings, partition: int) -> None:
        self.next: int | None = None
        self.done = 0
        self.urgent = False
        self.engine = Engine(config.engine(), numerics_tag())
        #: event time of the newest call, epoch ms
        self.newest_time = 0
        self._repeated = 0
        self._counted: dict[str, int] = {}
        self._topics = topics
        self._partition = partition
        self._payload = config.dead_letters.payload
        #: offset of the record that caused it, and what is to be sent
        self._pending: list[tuple[int, Send]] = []
        self._published = -1
        self._marks = Marks()
        self._set_aside_offsets: set[int] = set()
        self._careful_until = 0
        #: scope -> first offset that its written state does not hold, smallest first
        self._dirty: dict[str, int] = {}
        self._written: dict[str, Written] = {}
        self._epochs: list[tuple[int, dict[str, tuple[int, int]]]] = []
        self._base = -1

    def restore(self, items: Iterable[tuple[bytes, bytes | None]]) -> None:
        """Take over the records of the state topic."""
        newest = dict(items)
        done, base = newest.pop(DONE, None), newest.pop(BASE, None)
        if done is None:
            return
        try:
            self._restore(done, base, newest)
        except msgspec.MsgspecError as error:
            raise UnreadableState(f"{self._topics.state}: a marker is none: {error}") from None

    def _restore(self, done: bytes, base: bytes | None, newest: dict[bytes, bytes | None]) -> None:
        marker = msgspec.msgpack.decode(done, type=Done)
        self.done = marker.next
        if base is None:
            return
        start = msgspec.msgpack.decode(base, type=Base)
        self.next, self._base = start.next, start.next
        self._marks, self._set_aside_offsets = Marks(start.sources), set(start.set_aside)
        self._epochs.append((start.next, self._marks.copy()))
        scopes: dict[str, dict[str, bytes]] = {}
        for key, value in newest.items():
            scope, _, part = key.decode().rpartition(PART)
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
        self._epochs.append((first, {}))

    def skip(self, first: int) -> None:
        """Go on at `first`: the records before it are gone from the log."""
        self.next = first

    def be_careful(self, until: int, set_aside: Iterable[int]) -> None:
        """Records before `until` one by one."""
        self._careful_until = until
        self._set_aside_offsets |= set(set_aside)

    def reach(self, records: Sequence[Incoming]) -> int:
        """Offsets of `calls` have no holes: it is never written in transactions, and never compacted."""
        assert self.next is not None
        if records[-1].offset < self.next:
            return len(records)
        if records[0].offset <= self.next and records[-1].offset - records[0].offset == len(records) - 1:
            return len(records)
        wanted = self.next
        for place, record in enumerate(records):
            if record.offset > wanted:
                return place
            wanted = max(wanted, record.offset + 1)
        return len(records)

    def take(self, records: Sequence[Incoming]) -> None:
        """Apply records in order."""
        assert self.next is not None
        batch: list[Record] = []
        offsets: list[int] = []
        for record in records:
            if record.offset < self.next:
                continue
            self.next = record.offset + 1
            if record.offset < self._careful_until or record.offset in self._set_aside_offsets:
                self._step(batch, offsets)  # a record that is set aside must not overtake those before it
                batch, offsets = [], []
            taken = self._read(record)
            if taken is not None:
                batch.append(taken)
                offsets.append(record.offset)
        self._step(batch, offsets)

    def publish(self) -> list[Send]:
        """Outputs and the marker `done`."""
        assert self.next is not None
        self.urgent = False
        if self.next <= self._published:
            return []
        sends = [send for _, send in sorted(self._pending, key=itemgetter(0))]
        self._pending = []
        self.done = max(self.done, self.next)
        self._published = self.next
        self._epochs.append((self.next, self._marks.copy()))
        if len(self._epochs) > MAX_EPOCHS:
            self._epochs = self._epochs[::2]
        marker = msgspec.msgpack.encode(Done(self.done))
        return [*sends, Send(self._topics.state, DONE, marker, self._partition)]

    def state(self, before: int, limit_bytes: int) -> list[Send]:
        """Parts of the scopes that changed first, and the marker `base`."""
        sends = self._tombstones()
        size = 0
        for key, first in list(self._dirty.items()):
            if first >= before or size >= limit_bytes:
                break
            parts = self._parts(key)
            size += sum(len(data) for data in parts.values() if data is not None)
            sends += [self._part(key, name, data) for name, data in parts.items()]
            del self._dirty[key]
        base = self._reach()
        if base is None or (base[0] == self._base and not sends):
            return sends
        self._base = base[0]
        self._epochs = [epoch for epoch in self._epochs if epoch[0] >= base[0]]
        self._set_aside_offsets = {offset for offset in self._set_aside_offsets if offset >= base[0]}
        marker = Base(base[0], base[1], sorted(self._set_aside_offsets)[-MAX_SET_ASIDE:])
        return [*sends, Send(self._topics.state, BASE, msgspec.msgpack.encode(marker), self._partition)]

    def oldest_change(self) -> int:
        """The offset from which a restore would have to read again, less what no scope needs."""
        return next(iter(self._dirty.values()), NEVER)

    @property
    def base(self) -> int:
        """Where a restore would read on; 0 before any state was written."""
        return max(self._base, 0)

    def take_counts(self) -> dict[str, int]:
        """What was counted since the last call, by the name of its meter."""
        counts = {
            "repeated": self._repeated,
            "evicted": self.engine.dropped,
            "signals_dropped": self.engine.signals_dropped,
            "signals_new": self.engine.signals_new,
        }
        since = {name: count - self._counted.get(name, 0) for name, count in counts.items()}
        self._counted = counts
        return since

    def _read(self, record: Incoming) -> Record | None:
        """The record for the engine; None where it repeats one, or is set aside."""
        if self._marks.repeats(record):
            self._repeated += 1
            return None
        try:
            if record.offset in self._set_aside_offsets:
                self.engine.mark_degraded(scope_of_key(record.key), record.offset)
                raise Refused("engine_error", "the engine failed on this record; its scope is marked degraded")
            found = measured(record)
        except Refused as refused:
            position = f"{self._topics.calls}/{self._partition}/{record.offset}"
            self._set_aside(record.offset, reject(record.value or b"", refused, position, payload=self._payload))
            return None
        if isinstance(found, Observation):
            self.newest_time = max(self.newest_time, found.time)
        return found

    def _step(self, batch: list[Record], offsets: list[int]) -> None:
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
                self._add(output.position, Send(self._topics.summaries, summary.scope.encode(), encode(summary)))
            else:
                self._set_aside(output.position, output.record)

    def _alert(self, position: int, alert: Alert) -> None:
        key, data = alert.dedup_key.encode(), encode(alert)
        headers = alert_headers(alert, self._partition, position)
        self.urgent |= position >= self.done
        self._add(position, Send(self._topics.alerts, key, data, headers=headers))
        self._add(position, Send(self._topics.alert_state, key, data, headers=headers))

    def _set_aside(self, position: int, letter: Reject) -> None:
        self._add(position, Send(self._topics.dead_letters, letter.position.encode(), encode(letter)))

    def _add(self, position: int, send: Send) -> None:
        """Publish something, unless that was done before the state was restored."""
        if position >= self.done:
            self._pending.append((position, send))

    def _parts(self, key: str) -> Mapping[str, bytes | None]:
        """What changed of a scope since it was written; None for parts that one written as a whole no longer has."""
        scope = self.engine.scopes[key]
        known = self._written.get(key, Written(scope.first_call, 0, set()))
        after = known.calls if known.first_call == scope.first_call else 0
        parts = self.engine.snapshot(key, after)
        gone = known.parts - parts.keys() if after == 0 else set()
        self._note_written(key, (known.parts | parts.keys()) - gone)
        return {**parts, **dict.fromkeys(sorted(gone))}

    def _note_written(self, key: str, parts: set[str], *, whole: bool = True) -> None:
        """The state topic holds these parts of a scope; `whole`: what changes from now on may stand beside them."""
        scope = self.engine.scopes[key]
        calls = int(self.engine.bank.scopes.array[scope.slot]["calls"]) if whole else 0
        self._written[key] = Written(scope.first_call, calls, parts)

    def _tombstones(self) -> list[Send]:
        """Scopes that the engine dropped leave the state topic."""
        sends = []
        for key in [key for key in self._written if key not in self.engine.scopes]:
            sends += [self._part(key, name, None) for name in sorted(self._written.pop(key).parts)]
        for key in [key for key in self._dirty if key not in self.engine.scopes]:
            del self._dirty[key]
        return sends

    def _part(self, key: str, name: str, data: bytes | None) -> Send:
        return Send(self._topics.state, f"{key}{PART}{name}".encode(), data, self._partition)

    def _reach(self) -> tuple[int, dict[str, tuple[int, int]]] | None:
        """The newest position with known marks of the sources that all written state holds."""
        held = min(self.oldest_change(), self.next if self.next is not None else 0)
        found = None
        for epoch in self._epochs:
            if epoch[0] <= held:
                found = epoch
        return found
