"""The feed as a fold: what follows from each event, step by step; whole histories are in tests/simulation."""

from typing import Any, TypeVar

import pytest
from leeboard.pipelines.notify.delivery.queue import MAX_QUEUE, QueuedMessage, SinkDelivery
from leeboard.pipelines.notify.feed import instructions as do
from leeboard.pipelines.notify.feed.dead_letters import DeadLetterQueue
from leeboard.pipelines.notify.feed.events import (
    ClockReading,
    DeadLetterWritten,
    DeliveriesEnded,
    FeedEvent,
    FeedPartition,
    FeedRecord,
    GroupView,
    Heartbeat,
    HistoryBatch,
    HistoryFailed,
    HistoryRead,
    OffsetsCommitted,
    Polled,
    QueuesCleared,
    QueuesDrained,
    RoundEnded,
    RoundStarted,
    StopRequested,
)
from leeboard.pipelines.notify.feed.fold import POLL_RECORDS, FeedFold
from leeboard.pipelines.notify.feed.offsets import COMMIT_RETRY_S, COMMIT_S, DEAD_LETTER_SINK
from leeboard.pipelines.notify.feed.progress import read_metadata
from leeboard.pipelines.notify.feed.settings import FeedSettings
from leeboard.pipelines.notify.settings import NotifySettings, RouteSettings
from leeboard.pipelines.notify.sinks import DELIVERED, Outcome
from leeboard.schemas import encode
from msgspec.structs import replace

from .records import page
from .sinks import settings_of

PAGES = FeedPartition("pages", 0)
SETTINGS = FeedSettings(
    notify=NotifySettings(
        sinks={"pager": settings_of("pagerduty"), "hook": settings_of("webhook")},
        routes=[RouteSettings(sink="pager"), RouteSettings(sink="hook", severity=["critical"])],
        stalled_minutes=2.0,
    ),
    app_id="fleet",
    pages_topic="pages",
    alerts_topic="alerts",
    session_s=10.0,
    keep_payload=False,
)
Wanted = TypeVar("Wanted")


class Feed:
    """A fold, its clocks, and what it has said."""

    def __init__(self, settings: FeedSettings = SETTINGS) -> None:
        self.now = ClockReading(100.0, 1_800_000_000.0)
        self.fold = FeedFold(settings, self.now)
        self.group = GroupView(0, None, 100.0)
        self.paused: frozenset[FeedPartition] = frozenset()
        self.summaries = 0

    def wait(self, seconds: float) -> None:
        self.now = ClockReading(self.now.monotonic_s + seconds, self.now.wall_s + seconds)

    def step(self, event: FeedEvent) -> list[do.Instruction]:
        return self.fold.step(event, self.now)

    def poll(self, *records: FeedRecord, partition: FeedPartition = PAGES) -> list[do.Instruction]:
        batches = {partition: records} if records else {}
        positions = {partition: records[-1].offset + 1} if records else {}
        return self.step(Polled(self.group, batches, positions, self.paused))

    def end_round(self, *, connected: bool = True) -> list[do.Instruction]:
        return self.step(RoundEnded(Heartbeat(connected=connected, summaries=self.summaries)))

    def rebalance(self, *partitions: FeedPartition, generation: int) -> None:
        version = self.group.version + 1
        self.group = GroupView(version, frozenset(partitions), self.now.monotonic_s, generation)

    def follow(self, start: int = 0, metadata: str = "", generation: int = 1) -> list[do.Instruction]:
        """The partition of pages is assigned, and read back from nothing."""
        self.rebalance(PAGES, generation=generation)
        self.step(RoundStarted())
        assert self.poll() == [do.ClearQueues()]
        assert only(self.step(QueuesCleared([])), do.ReadHistory) == [do.ReadHistory(PAGES)]
        found = self.step(HistoryRead(PAGES, start, metadata))
        assert self.fold.may_send(self.group.version, self.now.monotonic_s)
        return found

    def delivered(self, send: do.SendMessage, sink: str, outcome: Outcome = DELIVERED) -> SinkDelivery:
        return SinkDelivery(QueuedMessage(send.message, send.ticket, 0.0, send.due_s), sink, outcome)


def only(found: list[do.Instruction], kind: type[Wanted]) -> list[Wanted]:
    return [instruction for instruction in found if isinstance(instruction, kind)]


def record(offset: int, key: str = "k", status: str = "trigger", **alert: Any) -> FeedRecord:
    return FeedRecord(offset, encode(page(key, status, **{"severity": "critical", **alert}).record), 5_000)


def test_a_record_goes_to_its_sinks_and_is_committed_when_all_are_done() -> None:
    feed = Feed()
    feed.follow()
    [first] = only(feed.end_round(), do.CommitOffsets)
    assert not first.wait and first.offsets[PAGES][0] == 0
    feed.step(OffsetsCommitted(first.number))
    [send] = only(feed.poll(record(0)), do.SendMessage)
    assert (send.message.key, send.sinks, send.due_s) == ("k", ["pager", "hook"], 5.0)
    feed.step(DeliveriesEnded([feed.delivered(send, "hook")]))
    [commit] = only(feed.end_round(), do.CommitOffsets)
    offset, metadata = commit.offsets[PAGES]
    assert (offset, read_metadata(metadata).ahead["hook"]) == (0, 1), "the pager is not done"
    feed.step(DeliveriesEnded([feed.delivered(send, "pager")]))
    assert only(feed.end_round(), do.CommitOffsets) == [], "one commit at a time"
    feed.step(OffsetsCommitted(commit.number))
    [commit] = only(feed.end_round(), do.CommitOffsets)
    assert commit.offsets[PAGES] == (1, '{"at":1800000000}')


def test_a_sink_that_had_a_record_before_the_restart_is_not_sent_it_again_but_remembers_it() -> None:
    feed = Feed()
    feed.follow(start=3, metadata='{"ahead": {"pager": 4}}')
    found = feed.poll(record(3))
    assert [(send.sinks, send.ticket.offset) for send in only(found, do.SendMessage)] == [(["hook"], 3)]  # type: ignore[attr-defined]
    assert [recall.sinks for recall in only(found, do.RecallMessage)] == [["pager"]]


def test_history_is_recalled_and_not_sent_and_what_is_unreadable_in_it_has_its_dead_letter_already() -> None:
    feed = Feed()
    feed.rebalance(PAGES, generation=1)
    feed.poll()
    feed.step(QueuesCleared([]))
    found = feed.step(HistoryBatch(PAGES, [record(0).value, b"\xff", None]))
    assert [type(instruction) for instruction in found] == [do.RecallMessage]
    feed.step(HistoryRead(PAGES, 3, ""))
    [send] = only(feed.poll(record(3, status="resolve", severity="warning")), do.SendMessage)
    assert send.sinks == ["pager", "hook"], "the hook has had the trigger: it gets the resolve"


def test_what_is_polled_under_a_newer_group_is_left_and_read_again() -> None:
    feed = Feed()
    feed.follow()
    feed.rebalance(PAGES, generation=2)
    assert not feed.fold.may_send(feed.group.version, feed.now.monotonic_s), "at once"
    assert feed.poll(record(0)) == [do.ClearQueues()]


def test_after_the_next_generation_what_was_done_is_committed_first() -> None:
    """Nobody else can have had a partition that is kept from one generation to the next."""
    feed = Feed()
    feed.follow(generation=7)
    [send] = only(feed.poll(record(0)), do.SendMessage)
    feed.rebalance(PAGES, generation=8)
    feed.poll()
    found = feed.step(QueuesCleared([feed.delivered(send, "pager"), feed.delivered(send, "hook")]))
    [commit] = only(found, do.CommitOffsets)
    assert commit.wait and commit.offsets[PAGES][0] == 1
    assert only(feed.step(OffsetsCommitted(commit.number, "no broker")), do.ReadHistory) == [do.ReadHistory(PAGES)]


@pytest.mark.parametrize("generation", [9, 6])
def test_after_a_generation_that_was_missed_nothing_is_committed(generation: int) -> None:
    feed = Feed()
    feed.follow(generation=7)
    [send] = only(feed.poll(record(0)), do.SendMessage)
    feed.rebalance(PAGES, generation=generation)
    feed.poll()
    found = feed.step(QueuesCleared([feed.delivered(send, "pager"), feed.delivered(send, "hook")]))
    assert only(found, do.CommitOffsets) == []
    assert only(found, do.ReadHistory) == [do.ReadHistory(PAGES)]


def test_a_restart_that_fails_is_tried_again_in_the_next_round() -> None:
    feed = Feed()
    feed.rebalance(PAGES, generation=1)
    for _ in range(3):
        assert feed.poll() == [do.ClearQueues()]
        feed.step(QueuesCleared([]))
        [line] = feed.step(HistoryFailed(PAGES, "no broker answers"))
        assert isinstance(line, do.LogMessage)
        assert feed.fold.partitions == []
        assert feed.end_round() == []
        assert not feed.fold.may_send(feed.group.version, feed.now.monotonic_s)
    assert feed.poll() == [do.ClearQueues()]
    feed.step(QueuesCleared([]))
    feed.step(HistoryRead(PAGES, 0, ""))
    feed.step(RoundStarted())
    assert feed.fold.may_send(feed.group.version, feed.now.monotonic_s)


def test_a_process_that_stood_still_asks_the_group_before_it_sends_and_restarts_if_it_was_replaced() -> None:
    feed = Feed()
    feed.follow()
    feed.step(RoundStarted())
    assert feed.fold.may_send(feed.group.version, feed.now.monotonic_s)
    feed.wait(10.5)
    assert not feed.fold.may_send(feed.group.version, feed.now.monotonic_s), "also before the loop comes round"
    [commit] = only(feed.step(RoundStarted()), do.CommitOffsets)
    assert commit.wait
    assert not feed.fold.may_send(feed.group.version, feed.now.monotonic_s)
    feed.step(OffsetsCommitted(commit.number, "not a member"))
    assert not feed.fold.may_send(feed.group.version, feed.now.monotonic_s)
    assert feed.poll() == [do.ClearQueues()]


def test_an_answer_of_the_group_counts_from_when_it_was_asked() -> None:
    """Frozen between the group's answer and the next step, a process may be replaced as well."""
    feed = Feed()
    feed.follow()
    feed.wait(10.5)
    [commit] = only(feed.step(RoundStarted()), do.CommitOffsets)
    feed.wait(30.0)
    feed.step(OffsetsCommitted(commit.number))
    assert not feed.fold.may_send(feed.group.version, feed.now.monotonic_s)
    [again] = only(feed.step(RoundStarted()), do.CommitOffsets)
    feed.step(OffsetsCommitted(again.number))
    assert feed.fold.may_send(feed.group.version, feed.now.monotonic_s)


def test_a_dead_letter_is_written_before_its_record_is_committed() -> None:
    feed = Feed()
    feed.follow()
    [send] = only(feed.poll(record(0), FeedRecord(1, b"\xff", 0)), do.SendMessage)
    dropped = feed.delivered(send, "pager", Outcome("dropped", "HTTP 400"))
    [letter] = only(feed.step(DeliveriesEnded([dropped, feed.delivered(send, "hook")])), do.WriteDeadLetter)
    assert (letter.reject.reason, letter.reject.position) == ("not_utf8", "pages/0/1"), "in order"
    assert only(feed.step(DeadLetterWritten("no broker")), do.WriteDeadLetter) == [], "not again in this round"
    [commit] = only(feed.end_round(), do.CommitOffsets)
    offset, metadata = commit.offsets[PAGES]
    assert (offset, read_metadata(metadata).ahead) == (0, {"hook": 2, DEAD_LETTER_SINK: 1})
    assert only(feed.step(DeliveriesEnded([])), do.WriteDeadLetter) == [letter]
    [second] = only(feed.step(DeadLetterWritten()), do.WriteDeadLetter)
    assert (second.reject.reason, second.reject.detail) == ("not_delivered", "sink pager: HTTP 400")
    assert feed.step(DeadLetterWritten()) == []
    feed.step(OffsetsCommitted(commit.number))
    [commit] = only(feed.end_round(), do.CommitOffsets)
    assert commit.offsets[PAGES][0] == 2


def test_a_commit_that_fails_is_repeated_soon_and_one_without_news_once_a_minute() -> None:
    feed = Feed()
    feed.follow()
    [commit] = only(feed.end_round(), do.CommitOffsets)
    [line] = feed.step(OffsetsCommitted(commit.number, "no broker"))
    assert isinstance(line, do.LogMessage)
    assert feed.end_round() == []
    feed.wait(COMMIT_RETRY_S)
    [commit] = only(feed.end_round(), do.CommitOffsets)
    assert feed.step(OffsetsCommitted(commit.number, "no broker")) == [], "said once"
    feed.wait(COMMIT_RETRY_S)
    [commit] = only(feed.end_round(), do.CommitOffsets)
    feed.step(OffsetsCommitted(commit.number))
    feed.wait(COMMIT_S - 0.1)
    assert feed.end_round() == []
    feed.wait(0.2)
    assert len(only(feed.end_round(), do.CommitOffsets)) == 1


def test_a_record_that_comes_twice_is_taken_once() -> None:
    feed = Feed()
    feed.follow()
    assert len(only(feed.poll(record(0), record(1, status="update")), do.SendMessage)) == 2
    assert (
        only(feed.poll(record(0), record(1, status="update"), record(2, status="resolve")), do.SendMessage)[
            0
        ].message.status
        == "resolve"
    )


def test_a_topic_is_paused_while_a_queue_is_full() -> None:
    feed = Feed()
    feed.follow()
    sends: list[do.SendMessage] = []
    for first in range(0, MAX_QUEUE, POLL_RECORDS):
        records = [record(offset, str(offset), severity="warning") for offset in range(first, first + POLL_RECORDS)]
        sends += only(feed.poll(*records), do.SendMessage)
        if only(feed.end_round(), do.PausePartition):
            break
    assert len(sends) == MAX_QUEUE, "a whole poll still fitted"
    feed.paused = frozenset([PAGES])
    feed.poll()
    assert only(feed.end_round(), do.PausePartition) == [], "said once"
    feed.step(DeliveriesEnded([feed.delivered(send, "pager") for send in sends[:POLL_RECORDS]]))
    assert only(feed.end_round(), do.ResumePartition) == [do.ResumePartition(PAGES)]


def test_a_topic_is_paused_while_dead_letters_cannot_be_written() -> None:
    feed = Feed()
    feed.follow()
    offset = 0
    while not only(feed.end_round(), do.PausePartition):
        feed.poll(*(FeedRecord(offset + number, b"\xff", 0) for number in range(POLL_RECORDS)))
        feed.step(DeliveriesEnded([]))
        feed.step(DeadLetterWritten("no broker"))
        offset += POLL_RECORDS
        assert offset <= MAX_QUEUE
    assert offset == MAX_QUEUE
    assert isinstance(feed.fold._dead_letters, DeadLetterQueue) and len(feed.fold._dead_letters) == MAX_QUEUE


def test_silence_is_reported_noted_beside_the_offset_and_resolved_by_whoever_comes_next() -> None:
    feed = Feed()
    feed.follow()
    feed.wait(119.0)
    assert only(feed.end_round(), do.SendMessage) == []
    feed.wait(2.0)
    found = feed.end_round()
    [send] = only(found, do.SendMessage)
    assert (send.message.kind, send.message.status, send.ticket) == ("stalled", "trigger", None)
    assert feed.fold.troubles == ["stalled"]
    feed.wait(COMMIT_S)
    feed.step(OffsetsCommitted(0))
    [commit] = only(feed.end_round(), do.CommitOffsets)
    metadata = commit.offsets[PAGES][1]
    assert read_metadata(metadata).open == ["stalled"]
    successor = Feed()
    [reminder] = only(successor.follow(metadata=metadata), do.SendMessage)
    assert (reminder.message.kind, reminder.message.status) == ("stalled", "trigger")
    successor.summaries = 1
    [resolve] = only(successor.end_round(), do.SendMessage)
    assert (resolve.message.kind, resolve.message.status) == ("stalled", "resolve")


def test_after_a_long_silence_of_its_predecessor_a_process_resolves_what_that_could_not_note() -> None:
    feed = Feed()
    [resolve] = only(feed.follow(metadata='{"at": 1799999000}'), do.SendMessage)
    assert (resolve.message.kind, resolve.message.status) == ("unreachable", "resolve")


def test_only_the_process_with_the_pages_reports_about_leeboard_itself() -> None:
    settings = replace(
        SETTINGS,
        notify=replace(
            SETTINGS.notify, routes=[*SETTINGS.notify.routes, RouteSettings(sink="hook", records=["notices"])]
        ),
    )
    feed, alerts = Feed(settings), FeedPartition("alerts", 0)
    feed.rebalance(alerts, generation=1)
    feed.poll()
    feed.step(QueuesCleared([]))
    feed.step(HistoryRead(alerts, 0, ""))
    feed.wait(1000.0)
    assert only(feed.end_round(), do.SendMessage) == []
    feed.rebalance(generation=2)
    feed.poll()
    feed.step(QueuesCleared([]))
    assert feed.fold.partitions == []
    assert only(feed.end_round(connected=False), do.SendMessage) == []


def test_a_process_that_is_left_without_an_assignment_still_reports_that_no_broker_answers() -> None:
    feed = Feed()
    feed.follow()
    feed.group = GroupView(9, None, feed.now.monotonic_s)
    assert feed.poll() == [], "between two assignments it waits"
    feed.wait(10.5)
    feed.step(RoundStarted())
    feed.step(OffsetsCommitted(0, "no broker"))
    assert feed.poll() == [do.ClearQueues()]
    feed.step(QueuesCleared([]))
    feed.step(RoundStarted())
    assert feed.fold.may_send(9, feed.now.monotonic_s)
    feed.wait(115.0)
    [send] = only(feed.end_round(connected=False), do.SendMessage)
    assert (send.message.kind, send.message.status) == ("unreachable", "trigger")


def test_at_the_end_what_waits_goes_out_then_dead_letters_then_the_last_commit() -> None:
    feed = Feed()
    feed.follow()
    [send] = only(feed.poll(record(0)), do.SendMessage)
    [drain] = feed.step(StopRequested())
    assert isinstance(drain, do.DrainQueues)
    assert feed.fold.may_send(feed.group.version, feed.now.monotonic_s + drain.timeout_s - 0.1)
    dropped = feed.delivered(send, "hook", Outcome("dropped", "HTTP 400"))
    found = feed.step(QueuesDrained(empty=True, deliveries=[feed.delivered(send, "pager"), dropped]))
    assert len(only(found, do.WriteDeadLetter)) == 1
    assert not feed.fold.may_send(feed.group.version, feed.now.monotonic_s)
    [commit] = only(feed.step(DeadLetterWritten()), do.CommitOffsets)
    assert commit.wait and commit.offsets[PAGES][0] == 1
    assert feed.step(OffsetsCommitted(commit.number)) == []


def test_the_same_events_give_the_same_instructions() -> None:
    def history() -> list[do.Instruction]:
        feed = Feed()
        said = [*feed.follow()]
        for offset in range(30):
            feed.wait(7.0)
            said += feed.step(RoundStarted())
            found = feed.poll(record(offset, str(offset % 5), ("trigger", "update", "resolve")[offset // 10]))
            said += found
            sends = only(found, do.SendMessage)
            said += feed.step(DeliveriesEnded([feed.delivered(send, name) for send in sends for name in send.sinks]))
            said += feed.end_round()
        return said

    assert len(history()) > 25
    assert [*map(repr, history())] == [*map(repr, history())]
