"""From the topics `pages` and `alerts` to the notifier, and offsets back after every sink is done with a record.

What must survive a restart is read back from the topics: the memory of router and sinks, by folding the records before
the committed offset again without telling anybody. Whenever the consumer group changes, everything that waits is
forgotten and the partitions that are ours then begin anew from what is committed. Only the process that owns the
partition of `pages` speaks for leeboard itself. README.md says what happens at a crash between any two steps.
"""

import hashlib
import logging
import threading
import time
from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any

from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.errors import AuthorizationError, KafkaError
from leeboard.pipelines.config import Config
from leeboard.pipelines.kafka.clients import python_client
from leeboard.pipelines.kafka.operate.reading import TopicUnreadable, consumer_of
from leeboard.pipelines.kafka.operate.topics import problems
from leeboard.pipelines.kafka.settings import KafkaSettings
from leeboard.pipelines.notify.delivery.metrics import Metrics
from leeboard.pipelines.notify.delivery.notifier import Notifier
from leeboard.pipelines.notify.messages.message import Stream, read_message
from leeboard.pipelines.notify.sinks import Outcome, Sink
from leeboard.schemas import Refused, Reject, reject

from .dead_letters import Letter, Letters
from .heartbeat import Pulse
from .history import History
from .membership import Membership, Standing
from .offsets import LETTERS, Offsets, Place
from .progress import Metadata, read_metadata
from .self_health import Vitals

log = logging.getLogger(__name__)
#: records of one poll; a topic rests while a queue has less room than that
BATCH = 50
POLL_MS = 200
#: a question to a broker
ASK_MS = 5000
#: at the end: what waits may still go out, then the last commit, then farewell. Kubernetes kills after 30 s
DRAIN_S, LAST_COMMIT_MS, CLOSE_MS = 10.0, 5000, 1000
#: a loop that has not come round for so long is stuck: an attempt that is waited for takes 20 s, a dead letter 10 s
STUCK_S = 60.0


class Feed:
    """`leeboard notify` in normal operation, on the thread that calls `run`."""

    def __init__(self, config: Config, sinks: Mapping[str, Sink], metrics: Metrics) -> None:
        """Raises TopicUnreadable, ClientError, kafka.errors.KafkaError where Kafka cannot be used."""
        kafka, topics = config.kafka, config.kafka.topics
        self._payload = config.dead_letters.payload
        self._session_s = kafka.session_timeout_s
        #: topic -> stream; alerts are read only where a route wants notices
        self._streams: dict[str, Stream] = {topics.pages: "pages"}
        if any("notices" in route.records for route in config.notify.routes):
            self._streams[topics.alerts] = "notices"
        check_topics(kafka, list(self._streams))
        self._notifier = Notifier(config.notify, sinks, metrics, self._may_send)
        self._metrics = metrics
        metrics.watch(self._notifier.dispatcher, sinks)
        with ExitStack() as clients:
            self._consumer = _group_consumer(kafka)
            clients.callback(self._consumer.close, autocommit=False, timeout_ms=CLOSE_MS)
            producer = KafkaProducer(**python_client(kafka), acks="all", max_block_ms=ASK_MS)
            clients.callback(producer.close, timeout=CLOSE_MS / 1000)
            self._letters = Letters(producer, topics.dead_letters)
            self._history = History(config, clients.enter_context(consumer_of(kafka)))
            self._pulse = Pulse(clients.enter_context(consumer_of(kafka)), topics.summaries)
            self._clients = clients.pop_all()
        self._offsets = Offsets(self._consumer, sinks)
        self._vitals = Vitals(config, self._pulse, metrics)
        self._membership = Membership()
        #: the standing of the group that is followed: nothing is sent while there is a newer one
        self._following = Standing(None)
        #: of the group when partitions were assigned last
        self._generation = -1
        #: does this process speak for leeboard itself? Until another is known to have the pages
        self._speaks = False
        #: monotonic: when the loop last came round, and until when sinks may begin attempts without it
        self._tick_s = self._alive_until_s = time.monotonic()
        self._consumer.subscribe(list(self._streams), listener=self._membership)

    def live(self) -> str | None:
        """None, or why the process should be restarted."""
        late = time.monotonic() - self._tick_s
        if late > STUCK_S:
            return f"the loop has been stuck for {late:.0f} s"
        return None if self._notifier.dispatcher.alive() else "the thread of a sink has ended"

    def ready(self) -> str | None:
        """None, or why nothing can be told now."""
        if not self._pulse.connected:
            return "no broker answers"
        return None if self._offsets.partitions else "no partition is assigned"

    def run(self, stop: threading.Event) -> None:
        """Tell until stopped; then let what waits go out, commit, leave. Raises AuthorizationError: a right is lost."""
        self._notifier.dispatcher.start()
        self._pulse.start()
        try:
            while not stop.is_set():
                self._tick()
            self._drain()
        finally:
            self._pulse.stop()
            self._notifier.dispatcher.stop()
            self._clients.close()

    def _may_send(self) -> bool:
        """A process that was frozen, or whose partitions somebody else may have, begins no attempt."""
        return self._following is self._membership.standing and time.monotonic() < self._alive_until_s

    def _tick(self) -> None:
        """Once round: a poll, what it brought, what became of what was brought before."""
        self._breathe()
        batches: dict[TopicPartition, list[Any]] = {}
        try:
            batches = self._consumer.poll(timeout_ms=POLL_MS, max_records=BATCH)
        except AuthorizationError:
            raise
        except KafkaError as error:
            log.warning("Kafka: %s", error)
            time.sleep(POLL_MS / 1000)
        standing = self._membership.standing
        if standing is self._following:
            for partition, records in batches.items():
                for record in records:
                    self._take(partition, record)
                self._offsets.reach(partition)
        elif standing.ours is not None or time.monotonic() - standing.since_s > self._session_s:
            self._follow(standing)  # what was polled is read again
        self._settle()
        if self._speaks:
            for message in self._vitals.news():
                log.warning("leeboard itself is %s: %s", message.kind, message.status)
                self._notifier.tell(message, self._notifier.route(message), None)
        self._rest()
        self._offsets.commit_soon(self._troubles())

    def _breathe(self) -> None:
        """A process that was frozen beyond its session may have been replaced: it asks the group before it goes on."""
        now = time.monotonic()
        if now - self._tick_s > self._session_s and self._offsets.partitions:
            log.warning("the loop stood still for %.0f s", now - self._tick_s)
            try:
                self._offsets.commit_now(self._troubles(), ASK_MS)
            except KafkaError as error:
                log.warning("replaced meanwhile? beginning anew: %s", error)
                self._following = Standing(None)
        self._tick_s = time.monotonic()
        self._alive_until_s = self._tick_s + self._session_s

    def _follow(self, standing: Standing) -> None:
        """Begin anew with the partitions that are ours now; what cannot be restored is tried again next time round.

        Between two assignments nothing is sent. When that lasts, words about leeboard itself must still go out.
        """
        ours = standing.ours or frozenset()
        generation = self._consumer.group_metadata().generation_id
        self._forget(ours if generation in (self._generation, self._generation + 1) else frozenset())
        try:
            for partition in sorted(ours):
                self._restore(partition)
        except (ValueError, KafkaError, TopicUnreadable) as error:  # the first: taken away again meanwhile
            log.warning("beginning anew: %s", error)
            return
        if standing.ours is not None:
            self._generation = generation
            self._speaks = any(self._streams[partition.topic] == "pages" for partition in ours)
            log.info("telling %s", ", ".join(sorted(partition.topic for partition in ours)) or "nothing")
        if self._speaks:
            for message in self._vitals.open():
                self._notifier.tell(message, self._notifier.route(message), None)
        self._tick_s = time.monotonic()
        self._alive_until_s = self._tick_s + self._session_s
        self._following = standing

    def _forget(self, kept: frozenset[TopicPartition]) -> None:
        """Nothing waits; an attempt that is being made is waited for.

        `kept`: partitions that nobody else can have had meanwhile; what was done in them is committed.
        """
        self._notifier.forget()
        self._settle()
        self._offsets.keep(kept)
        try:
            self._offsets.commit_now(self._troubles(), ASK_MS)
        except KafkaError as error:
            log.warning("not committed before beginning anew: %s", error)
        self._letters.clear()
        self._offsets.keep(frozenset())

    def _restore(self, partition: TopicPartition) -> None:
        """Read back what was told before the committed offset, and go on from there."""
        committed = self._consumer.committed(partition, metadata=True, timeout_ms=ASK_MS)
        begin, start = self._history.span(partition, None if committed is None else committed.offset)
        metadata = Metadata() if committed is None else read_metadata(committed.metadata)
        for record in self._history.read(partition, begin, start):
            try:
                message = read_message(record.value)
            except Refused:  # its dead letter was written when it was taken first
                continue
            self._notifier.recall(message, self._notifier.route(message))
        self._consumer.seek(partition, start)
        self._offsets.begin(partition, start, metadata)
        if self._streams[partition.topic] == "pages" and not self._speaks:
            silent_s = time.time() - metadata.at if metadata.at else 0.0
            for own in self._vitals.begin(metadata.open, silent_s):
                self._notifier.tell(own, self._notifier.route(own), None)

    def _take(self, partition: TopicPartition, record: Any) -> None:
        """Hand one record to the sinks that it concerns."""
        value = record.value or b""
        place = Place(partition, record.offset, hashlib.sha256(value).hexdigest(), len(value))
        try:
            message = read_message(value)
        except Refused as refused:
            if self._offsets.take(place, [LETTERS]):
                self._set_aside(place, LETTERS, reject(value, refused, place.position, payload=self._payload))
            return
        names = self._notifier.route(message)
        fresh = self._offsets.take(place, names)
        self._notifier.recall(message, [name for name in names if name not in fresh])
        self._notifier.tell(message, fresh, place, record.timestamp / 1000)

    def _settle(self) -> None:
        """Note what was delivered; set aside what was dropped, which then counts as done as well."""
        for item, sink, outcome in self._notifier.settled():
            if outcome.result == "dropped":
                log.error("sink %s: %s %s dropped: %s", sink, item.message.kind, item.message.status, outcome.reason)
            if not isinstance(item.ticket, Place):  # a word about leeboard itself stands in no topic
                continue
            if outcome.result == "dropped":
                self._set_aside(item.ticket, sink, _undelivered(item.ticket, sink, outcome))
            else:
                self._offsets.settle(item.ticket, sink)
        self._letters.write()

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
        troubles = [str(trouble) for trouble in self._vitals.troubles]
        return {p: troubles for p in self._offsets.partitions if self._streams[p.topic] == "pages"}

    def _drain(self) -> None:
        """Nothing new is taken; what waits may still go out."""
        self._alive_until_s = time.monotonic() + DRAIN_S
        if not self._notifier.dispatcher.drain(DRAIN_S):
            log.warning("not everything could be told in time; the rest is told after the next start")
        self._alive_until_s = 0.0
        self._settle()
        try:
            self._offsets.commit_now(self._troubles(), LAST_COMMIT_MS)
        except KafkaError as error:
            log.warning("the last offsets are not committed: %s", error)


def check_topics(kafka: KafkaSettings, told: list[str]) -> None:
    """Look whether the topics are as they must be. Raises TopicUnreadable, ClientError, kafka.errors.KafkaError."""
    rights = {topic: ["READ"] for topic in (*told, kafka.topics.summaries)} | {kafka.topics.dead_letters: ["WRITE"]}
    admin = KafkaAdminClient(**python_client(kafka))
    try:
        found = problems(admin, kafka, rights)
    finally:
        admin.close()
    if found:
        raise TopicUnreadable("\n".join(found))


def _group_consumer(kafka: KafkaSettings) -> KafkaConsumer:
    """A consumer that reads what is committed and commits by hand."""
    return KafkaConsumer(
        **python_client(kafka),
        group_id=f"{kafka.app_id}-notify",
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        isolation_level="read_committed",
        allow_auto_create_topics=False,
        session_timeout_ms=int(kafka.session_timeout_s * 1000),
        heartbeat_interval_ms=int(kafka.session_timeout_s * 1000 / 5),
    )


def _undelivered(place: Place, sink: str, outcome: Outcome) -> Reject:
    """The dead letter of a message that a sink did not take."""
    detail = f"sink {sink}: {outcome.reason}"
    return Reject(position=place.position, reason="not_delivered", detail=detail, sha256=place.sha256, size=place.size)
