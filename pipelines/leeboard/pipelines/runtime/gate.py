"""The fold of the partition of `alerts`: the page gate, its ledger, and the end of what is kept of old incidents.

`alerts` is written in transactions, so its offsets have holes, and nothing in a record tells whether another one is
missing before it. Hence its owner reads the log itself, in order (`ownership.Stage` with `pulls`). The gate's state is
small: it is written whole with every position.
"""

from collections.abc import Iterable, Sequence

import msgspec
from leeboard.pipelines.config import Config
from leeboard.pipelines.kafka.settings import TopicSettings
from leeboard.pipelines.watch.gate.fold import Gate
from leeboard.schemas import Alert, Page, Refused, decode_result, encode, reject
from msgspec import Struct

from .envelope import page_headers
from .fold import NEVER, Incoming, Send, UnreadableState

STATE = b"#gate"
#: an incident leaves the compacted topic so long after it was resolved
KEPT_MS = 30 * 86_400_000
#: resolved incidents whose end is noted: 100,000 x about 100 bytes = 10 MB; the oldest leave early beyond that
MAX_RESOLVED = 100_000
#: a page whose scopes show no sign of life for so long ends as expired
SILENT_MS = 24 * 3_600_000
#: signs of life are saved at most so often, where nothing else is to be saved
SAVE_SIGNS_MS = 600_000


class GatePart(Struct, array_like=True):
    """Everything that the gate's stage remembers."""

    next: int
    gate: bytes
    #: resolved incidents and when they were, oldest first
    resolved: list[tuple[str, int]]
    #: scope of an open page -> when it was heard of last, epoch ms of the wall clock
    heard: dict[str, int]


class GateFold:
    """See `fold.Fold`."""

    def __init__(self, config: Config, topics: TopicSettings, partition: int) -> None:
        self.next: int | None = None
        self.done = 0
        self.urgent = False
        self.gate = Gate(config.budget)
        self._topics = topics
        self._partition = partition
        self._payload = config.dead_letters.payload
        self._resolved: list[tuple[str, int]] = []
        self._heard: dict[str, int] = {}
        self._heard_saved_ms = 0
        self._pending: list[Send] = []
        self._published = -1

    def restore(self, items: Iterable[tuple[bytes, bytes | None]]) -> None:
        """Take over the newest record of the gate's state."""
        data = dict(items).get(STATE)
        if data is None:
            return
        try:
            part = msgspec.msgpack.decode(data, type=GatePart)
            self.gate.restore(part.gate)
        except (msgspec.MsgspecError, ValueError) as error:
            raise UnreadableState(f"{self._topics.gate_state} holds no state of a page gate: {error}") from None
        self.next = self.done = self._published = part.next
        self._resolved, self._heard = part.resolved, part.heard

    def begin(self, first: int, done: int) -> None:
        """Begin at `first`."""
        self.next = first
        self.done = done

    def skip(self, first: int) -> None:
        """Go on at `first`: alerts before it are gone."""
        self.next = first

    def be_careful(self, until: int, set_aside: Iterable[int]) -> None:
        """Nothing is taken in batches here."""

    def reach(self, records: Sequence[Incoming]) -> int:
        """All of them: they come from a reader that leaves nothing out."""
        return len(records)

    def take(self, records: Sequence[Incoming]) -> None:
        """Fold alerts in their order."""
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
                letter = reject(record.value or b"", refused, position, payload=self._payload)
                self._pending.append(Send(self._topics.dead_letters, position.encode(), encode(letter)))
                continue
            self._tell(self.gate.step(alert))
            self._forget(alert)

    def hear(self, summaries: Iterable[tuple[str, int]], now_ms: int) -> None:
        """Scopes and times of summaries: signs of life; event time passes, and what waits may page."""
        newest = 0
        wanted = {scope for scopes in self.gate.open_pages().values() for scope in scopes}
        for scope, time_ms in summaries:
            newest = max(newest, time_ms)
            if scope in wanted:
                self._heard[scope] = now_ms
        self._tell(list(self.gate.advance(newest)))

    def expire(self, now_ms: int) -> None:
        """End the pages of which nothing was heard for a day of the wall clock."""
        pages = self.gate.open_pages()
        wanted = {scope for scopes in pages.values() for scope in scopes}
        self._heard = {scope: self._heard.get(scope, now_ms) for scope in sorted(wanted)}
        for key, scopes in pages.items():
            if all(now_ms - self._heard[scope] >= SILENT_MS for scope in scopes):
                self._tell([self.gate.expire(key)])
        if now_ms - self._heard_saved_ms >= SAVE_SIGNS_MS and self._heard:
            self._heard_saved_ms = now_ms
            self._published = -1

    def publish(self) -> list[Send]:
        """Pages and the whole state."""
        assert self.next is not None
        self.urgent = False
        if self.next <= self._published and not self._pending:
            return []
        sends, self._pending = self._pending, []
        self.done = self._published = self.next
        part = GatePart(self.next, self.gate.snapshot(), self._resolved, self._heard)
        return [*sends, Send(self._topics.gate_state, STATE, msgspec.msgpack.encode(part), self._partition)]

    def oldest_change(self) -> int:
        """The state goes with every position."""
        return NEVER

    def state(self, before: int, limit_bytes: int) -> list[Send]:  # noqa: ARG002
        """Nothing more."""
        return []

    def _tell(self, pages: list[Page]) -> None:
        for page in pages:
            self.urgent = True
            self._pending.append(
                Send(self._topics.pages, page.page_key.encode(), encode(page), headers=page_headers(page))
            )

    def _forget(self, alert: Alert) -> None:
        """Note the end of an incident; those that ended long ago leave the compacted topic."""
        if alert.status == "resolve":
            self._resolved.append((alert.dedup_key, alert.time))
        now = self.gate.state.time
        while self._resolved and (now - self._resolved[0][1] > KEPT_MS or len(self._resolved) > MAX_RESOLVED):
            key, _ = self._resolved.pop(0)
            self._pending.append(Send(self._topics.alert_state, key.encode(), None))
