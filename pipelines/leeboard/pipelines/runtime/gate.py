"""The fold of the partition of `alerts`: the page gate, its ledger, and the removal of old incidents from the topics.

`alerts` is written in transactions, so its offsets have holes, and no record shows whether another one is missing
before it. Hence its owner reads the log itself, in order (`ownership.PartitionOwner` with `pulls`). The gate's state is
small: it is written whole with every position.
"""

from collections.abc import Iterable, Sequence

import msgspec
from leeboard.pipelines.topics import TopicSettings
from leeboard.pipelines.units import DAY_MS, MINUTE_MS
from leeboard.pipelines.watch.gate.fold import Gate
from leeboard.pipelines.watch.settings import BudgetSettings
from leeboard.schemas import Alert, Page, Refused, decode_result, encode, reject
from msgspec import Struct

from .envelope import page_headers
from .fold import BEYOND_ALL_OFFSETS, IncomingRecord, OutgoingRecord, UnreadableState

STATE_KEY = b"#gate"
#: a resolved incident leaves the compacted topic after so long
RESOLVED_KEPT_MS = 30 * DAY_MS
#: resolved incidents whose end is remembered: 100,000 x about 100 bytes = 10 MB; beyond that the oldest leave early
MAX_RESOLVED_KEPT = 100_000
#: a page of whose scopes no summary came for so long ends as expired
EXPIRE_AFTER_MS = DAY_MS
#: times of the last summaries are saved at most so often, where nothing else is to be saved
SAVE_LAST_SEEN_MS = 10 * MINUTE_MS


class GateCheckpoint(Struct, array_like=True):
    """Everything that the gate's stage remembers."""

    next: int
    gate: bytes
    #: resolved incidents and when they were resolved, oldest first
    resolved: list[tuple[str, int]]
    #: scope of an open page -> when its last summary came, epoch ms of the wall clock
    last_seen: dict[str, int]


class GateFold:
    """See `fold.Fold`. `keep_payload`: dead letters hold the bytes of the record."""

    def __init__(
        self, budget: BudgetSettings, topics: TopicSettings, partition: int, *, keep_payload: bool = False
    ) -> None:
        self.next: int | None = None
        self.done = 0
        self.urgent = False
        self.gate = Gate(budget)
        self._topics = topics
        self._partition = partition
        self._keep_payload = keep_payload
        self._resolved: list[tuple[str, int]] = []
        self._last_seen: dict[str, int] = {}
        self._last_seen_saved_ms = 0
        self._pending: list[OutgoingRecord] = []
        self._published = -1

    def restore(self, items: Iterable[tuple[bytes, bytes | None]]) -> None:
        """Load the newest record of the gate's state."""
        data = dict(items).get(STATE_KEY)
        if data is None:
            return
        try:
            saved = msgspec.msgpack.decode(data, type=GateCheckpoint)
            self.gate.restore(saved.gate)
        except (msgspec.MsgspecError, ValueError) as error:
            raise UnreadableState(f"{self._topics.gate_state} holds no state of a page gate: {error}") from None
        self.next = self.done = self._published = saved.next
        self._resolved, self._last_seen = saved.resolved, saved.last_seen

    def begin(self, first: int, done: int) -> None:
        """Begin at `first`."""
        self.next = first
        self.done = done

    def skip(self, first: int) -> None:
        """Continue at `first`: alerts before it are gone."""
        self.next = first

    def single_step(self, until: int, dead_letter: Iterable[int]) -> None:
        """Do nothing: alerts are always applied one by one."""

    def contiguous_prefix(self, records: Sequence[IncomingRecord]) -> int:
        """All of them: they come from a reader that leaves nothing out."""
        return len(records)

    def apply(self, records: Sequence[IncomingRecord]) -> None:
        """Apply alerts in their order."""
        assert self.next is not None
        for record in records:
            if record.offset < self.next:
                continue
            self.next = record.offset + 1
            try:
                alert = decode_result(record.value or b"")
                if not isinstance(alert, Alert):
                    raise Refused("unknown_schema", "not an alert")
            except Refused as refused:
                position = f"{self._topics.alerts}/{self._partition}/{record.offset}"
                rejected = reject(record.value or b"", refused, position, payload=self._keep_payload)
                self._pending.append(OutgoingRecord(self._topics.dead_letters, position.encode(), encode(rejected)))
                continue
            self._emit(self.gate.step(alert))
            self._forget_resolved(alert)

    def note_summaries(self, summaries: Iterable[tuple[str, int]], now_ms: int) -> None:
        """Note scopes and event times of summaries: their scopes are alive, and waiting incidents may page by now."""
        newest = 0
        wanted = {scope for scopes in self.gate.open_pages().values() for scope in scopes}
        for scope, time_ms in summaries:
            newest = max(newest, time_ms)
            if scope in wanted:
                self._last_seen[scope] = now_ms
        self._emit(list(self.gate.advance(newest)))

    def expire(self, now_ms: int) -> None:
        """End the pages for whose scopes no summary came for a day of the wall clock."""
        pages = self.gate.open_pages()
        wanted = {scope for scopes in pages.values() for scope in scopes}
        self._last_seen = {scope: self._last_seen.get(scope, now_ms) for scope in sorted(wanted)}
        for key, scopes in pages.items():
            if all(now_ms - self._last_seen[scope] >= EXPIRE_AFTER_MS for scope in scopes):
                self._emit([self.gate.expire(key)])
        if now_ms - self._last_seen_saved_ms >= SAVE_LAST_SEEN_MS and self._last_seen:
            self._last_seen_saved_ms = now_ms
            self._published = -1

    def publish(self) -> list[OutgoingRecord]:
        """Pages and the whole state."""
        assert self.next is not None
        self.urgent = False
        if self.next <= self._published and not self._pending:
            return []
        records, self._pending = self._pending, []
        self.done = self._published = self.next
        saved = GateCheckpoint(self.next, self.gate.snapshot(), self._resolved, self._last_seen)
        data = msgspec.msgpack.encode(saved)
        return [*records, OutgoingRecord(self._topics.gate_state, STATE_KEY, data, self._partition)]

    def oldest_change(self) -> int:
        """No change waits: the state goes with every position."""
        return BEYOND_ALL_OFFSETS

    def state(self, before: int, limit_bytes: int) -> list[OutgoingRecord]:  # noqa: ARG002
        """Nothing more than `publish` has returned."""
        return []

    def _emit(self, pages: list[Page]) -> None:
        for page in pages:
            self.urgent = True
            key, headers = page.page_key.encode(), page_headers(page)
            self._pending.append(OutgoingRecord(self._topics.pages, key, encode(page), headers=headers))

    def _forget_resolved(self, alert: Alert) -> None:
        """Note when an incident is resolved; those resolved long ago leave the compacted topic."""
        if alert.status == "resolve":
            self._resolved.append((alert.dedup_key, alert.time))
        now = self.gate.state.time
        while self._resolved and (
            now - self._resolved[0][1] > RESOLVED_KEPT_MS or len(self._resolved) > MAX_RESOLVED_KEPT
        ):
            key, _ = self._resolved.pop(0)
            self._pending.append(OutgoingRecord(self._topics.alert_state, key.encode(), None))
