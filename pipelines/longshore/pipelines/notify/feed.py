"""From the topics `pages` and `alerts` to the notifier, and offsets back after every sink is done with a record.

What must survive a restart is read back from the topics: the memory of router and sinks, by folding the records before
the committed offset again without telling anybody. Only the process that owns the partition of `pages` speaks for
longshore itself. See README.md for what happens at a crash between any two steps.
"""

import hashlib
import logging
import threading
import time
from collections.abc import Mapping
from typing import Any

from kafka import TopicPartition
from kafka.errors import KafkaError
from longshore.schemas import Alert, Page, Refused, Reject, decode_result, encode, reject

from ..config import Config
from .brokers import ASK_MS, BrokerProblem, explained_rights, open_consumer, partitions_of
from .history import History
from .letters import Letter, Letters
from .membership import Membership, Standing
from .message import Record, Stream, message_of
from .metrics import Metrics
from .notifier import Notifier, Settled
from .offsets import LETTERS, Offsets, Place
from .progress import Metadata, read_metadata
from .sinks import Sink
from .vitals import Vitals

log = logging.getLogger(__name__)
#: records of one poll; a topic rests while a queue has less room than that
BATCH = 50
POLL_MS = 200
#: at the end: what waits may still go out, then the last commit, each for so long. Kubernetes kills after 30 s
DRAIN_S, LAST_COMMIT_MS = 10.0, 5000
#: a loop that has not come round for so long is stuck: an attempt that is waited for takes 20 s, a dead letter 10 s
STUCK_S = 60.0


class Feed:
    """`longshore notify` in normal operation, on the thread that calls `run`."""

    def __init__(self, config: Config, sinks: Mapping[str, Sink], metrics: Metrics) -> None:
        """Raises BrokerProblem where Kafka cannot be used."""
        self._notify = config.notify
        self._payload = config.dead_letters.payload
        self._metrics = metrics
        self._notifier = Notifier(config.notify, sinks, metrics)
        metrics.watch(self._notifier.dispatcher, sinks)
        self._group = f"{config.kafka.app_id}-notify"
        self._session_s = config.kafka.session_timeout_s
        topics = config.kafka.topics
        #: topic -> stream; alerts are read only where a route wants notices
        self._streams: dict[str, Stream] = {topics.pages: "pages"}
        if any("notices" in route.records for route in config.notify.routes):
            self._streams[topics.alerts] = "notices"
        self._consumer = open_consumer(config.kafka, self._group)
        try:
            partitions_of(self._consumer, [*self._streams, topics.summaries, topics.dead_letters])
        except BrokerProblem:
            self._consumer.close(autocommit=False, timeout_ms=ASK_MS)
            raise
        self._offsets = Offsets(self._consumer, sinks)
        self._letters = Letters(config.kafka)
        self._history = History(config)
        self._vitals = Vitals(config, metrics)
        self._membership = Membership(self._notifier.dispatcher.hold)
        #: the change of the group that was followed last, and the group's own number of it
        self._changes = 0
        self._member_generation = -1
        #: since when there is no assignment; None: there is one
        self._between_s: float | None = None
        #: what is remembered cannot be trusted
        self._anew = False
        #: does this process speak for longshore itself? Until another is known to have the pages
        self._speaks = False
        self._tick_s = time.monotonic()
        self._consumer.subscribe(list(self._streams), listener=self._membership)

    def live(self) -> str | None:
        """None, or why the process should be restarted."""
        late = time.monotonic() - self._tick_s
        if late > STUCK_S:
            return f"the loop has been stuck for {late:.0f} s"
        return None if self._notifier.dispatcher.alive() else "the thread of a sink has ended"

    def ready(self) -> str | None:
        """None, or why nothing can be told now."""
        if not self._vitals.pulse.connected:
            return "no broker answers"
        return None if self._offsets.partitions else "no partition is assigned"

    def run(self, stop: threading.Event) -> None:
        """Tell until stopped; then let what waits go out, commit, leave. Raises BrokerProblem where a right is lost."""
        self._notifier.dispatcher.hold()
        self._notifier.dispatcher.start()
        self._vitals.pulse.start()
        try:
            while not stop.is_set():
                self._tick()
            self._drain()
        finally:
            self._vitals.pulse.stop()
            self._notifier.dispatcher.stop()
            self._letters.close()
            self._consumer.close(autocommit=False, timeout_ms=LAST_COMMIT_MS)

    def _tick(self) -> None:
        """Once round: a poll, what it brought, what became of what was brought before."""
        self._breathe()
        batches: dict[TopicPartition, list[Any]] = {}
        try:
            with explained_rights(self._group):
                batches = self._consumer.poll(timeout_ms=POLL_MS, max_records=BATCH)
        except KafkaError as error:
            log.warning("Kafka: %s", error)
            time.sleep(POLL_MS / 1000)
        if self._is_settled_in():
            for partition, records in batches.items():
                for record in records:
                    self._take(partition, record)
                self._offsets.reach(partition)
        self._settle()
        if self._speaks:
            for message in self._vitals.news():
                log.error("%s: %s", message.kind, message.status)
                self._notifier.tell(message, self._notifier.route(message), None)
        self._rest()
        self._offsets.commit_soon(self._troubles())

    def _breathe(self) -> None:
        """A process that was frozen beyond its session may have been replaced: it asks the group before it goes on."""
        late = time.monotonic() - self._tick_s
        if late > self._session_s and self._offsets.partitions:
            log.warning("the loop stood still for %.0f s", late)
            try:
                self._offsets.commit_now(self._troubles(), ASK_MS)
            except KafkaError as error:
                log.warning("replaced meanwhile? beginning anew: %s", error)
                self._notifier.dispatcher.hold()
                self._anew = True
        self._tick_s = time.monotonic()
        self._notifier.dispatcher.alive_until(self._tick_s + self._session_s)

    def _is_settled_in(self) -> bool:
        """May the records of this poll be taken? Not when the group has changed: they are read again then."""
        standing = self._membership.standing()
        if standing.changes == self._changes and not self._anew:
            return standing.assigned is not None
        if standing.assigned is None:
            self._wait_for_the_group()
            return False
        generation = self._consumer.group_metadata().generation_id
        consecutive = generation in (self._member_generation, self._member_generation + 1)
        ours = {*self._offsets.partitions}
        if ours == standing.assigned and consecutive and standing.lost <= self._changes and not self._anew:
            for partition in ours:  # nobody else can have had them in between
                self._consumer.seek(partition, self._offsets.next(partition))
        else:
            self._take_over(standing)
        self._changes, self._member_generation, self._between_s = standing.changes, generation, None
        self._notifier.dispatcher.release()
        if self._membership.standing().changes != standing.changes:
            self._notifier.dispatcher.hold()
        return False

    def _wait_for_the_group(self) -> None:
        """Between two assignments nothing is sent. When that lasts, a word about longshore itself must still go out."""
        now = time.monotonic()
        if self._between_s is None:
            self._between_s = now
        elif now - self._between_s > self._session_s and self._offsets.partitions:
            log.warning("no word of the consumer group for %.0f s", now - self._between_s)
            self._offsets.clear()
            self._letters.clear()
            self._notifier.forget()
            self._notifier.dispatcher.release()

    def _take_over(self, standing: Standing) -> None:
        """Begin anew with the partitions that are ours now."""
        assert standing.assigned is not None
        self._notifier.dispatcher.hold()
        self._letters.clear()
        self._offsets.clear()
        self._notifier.forget()
        self._anew = False
        if not any(self._streams.get(partition.topic) == "pages" for partition in standing.assigned):
            self._speaks = False
        try:
            for partition in sorted(standing.assigned):
                self._restore(partition)
        except (ValueError, KafkaError, BrokerProblem) as error:  # the first: taken away again meanwhile
            log.warning("beginning anew: %s", error)
            self._anew = True
            self._offsets.clear()
            self._notifier.forget()
            time.sleep(POLL_MS / 1000)
        self._tick_s = time.monotonic()
        self._notifier.dispatcher.alive_until(self._tick_s + self._session_s)
        log.info("telling %s", ", ".join(sorted(p.topic for p in self._offsets.partitions)) or "nothing")

    def _restore(self, partition: TopicPartition) -> None:
        """Read back what was told before the committed offset, and go on from there."""
        committed = self._consumer.committed(partition, metadata=True, timeout_ms=ASK_MS)
        begin, start = self._history.span(self._consumer, partition, None if committed is None else committed.offset)
        metadata = Metadata() if committed is None else read_metadata(committed.metadata)
        for record in self._history.read(partition, begin, start):
            try:
                message = message_of(_told(record.value))
            except Refused:  # its dead letter was written when it was taken first
                continue
            self._notifier.recall(message, self._notifier.route(message))
        self._consumer.seek(partition, start)
        self._offsets.begin(partition, start, metadata)
        if self._streams[partition.topic] == "pages" and not self._speaks:
            self._speaks = True
            idempotent = [name for name, sink in self._notify.sinks.items() if sink.resolves_untold]
            for message in self._vitals.begin(metadata.open, time.time() - metadata.at if metadata.at else 0.0):
                self._notifier.tell(message, idempotent, None)

    def _take(self, partition: TopicPartition, record: Any) -> None:
        """Hand one record to the sinks that it concerns."""
        if not self._offsets.awaits(partition, record.offset):
            return
        value = record.value or b""
        place = Place(partition, record.offset, hashlib.sha256(value).hexdigest(), len(value))
        try:
            message = message_of(_told(value))
        except Refused as refused:
            if self._offsets.take(place, [LETTERS]):
                letter = reject(value, refused, place.position, payload=self._payload)
                self._set_aside(place, LETTERS, letter)
            return
        names = self._notifier.route(message)
        fresh = self._offsets.take(place, names)
        self._notifier.recall(message, [name for name in names if name not in fresh])
        self._notifier.tell(message, fresh, place, record.timestamp / 1000)

    def _settle(self) -> None:
        """Note what was delivered; set aside what was dropped, which then counts as done as well."""
        for settled in self._notifier.settled():
            item, sink, outcome = settled
            if outcome.result == "dropped":
                log.error("sink %s: %s %s dropped: %s", sink, item.message.kind, item.message.status, outcome.reason)
                self._drop(settled)
            elif isinstance(item.ticket, Place):
                self._offsets.settle(item.ticket, sink)
        self._letters.write()

    def _drop(self, settled: Settled) -> None:
        item, sink, outcome = settled
        place = item.ticket
        if not isinstance(place, Place):  # a word about longshore itself stands in no topic
            own = encode(item.message.record)
            nowhere = TopicPartition(f"longshore_{item.message.kind}", 0)
            place = Place(nowhere, 0, hashlib.sha256(own).hexdigest(), len(own))
        detail = f"sink {sink}: {outcome.reason}"
        letter = Reject(
            position=place.position, reason="not_delivered", detail=detail, sha256=place.sha256, size=place.size
        )
        self._set_aside(place, sink, letter)

    def _set_aside(self, place: Place, sink: str, letter: Reject) -> None:
        def written() -> None:
            self._metrics.dead_letters.labels(letter.reason).inc()
            self._offsets.settle(place, sink)

        self._letters.add(Letter(letter, written))

    def _rest(self) -> None:
        """A topic rests while a queue is full: what is not taken is not lost."""
        resting = self._consumer.paused()
        for partition in self._offsets.partitions:
            full = self._notifier.is_full(self._streams[partition.topic], BATCH)
            if full and partition not in resting:
                log.warning("%s rests: the queue of a sink is full", partition.topic)
                self._consumer.pause(partition)
            elif not full and partition in resting:
                self._consumer.resume(partition)

    def _troubles(self) -> dict[TopicPartition, list[str]]:
        pages = [p for p in self._offsets.partitions if self._streams[p.topic] == "pages"]
        return dict.fromkeys(pages, self._vitals.troubles)

    def _drain(self) -> None:
        """Nothing new is taken; what waits may still go out."""
        self._notifier.dispatcher.alive_until(time.monotonic() + DRAIN_S)
        if not self._notifier.dispatcher.drain(DRAIN_S):
            log.warning("not everything could be told in time; the rest is told after the next start")
        self._notifier.dispatcher.hold()
        self._settle()
        try:
            self._offsets.commit_now(self._troubles(), LAST_COMMIT_MS)
        except KafkaError as error:
            log.warning("the last offsets are not committed: %s", error)


def _told(value: bytes | None) -> Record:
    """The page or alert of a record. Raises Refused."""
    found = decode_result(value or b"")
    if not isinstance(found, Page | Alert):
        raise Refused("unknown_schema", "neither a page nor an alert")
    return found
