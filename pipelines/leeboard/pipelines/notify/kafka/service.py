"""`leeboard notify` put together: topics checked, clients, queues and fold made from the configuration."""

import time
from collections.abc import Mapping

from kafka import KafkaAdminClient
from leeboard.pipelines.config import Config
from leeboard.pipelines.kafka.clients import python_client
from leeboard.pipelines.kafka.operate.reading import TopicUnreadable
from leeboard.pipelines.kafka.operate.topics import problems
from leeboard.pipelines.kafka.settings import KafkaSettings
from leeboard.pipelines.notify.delivery.dispatcher import Dispatcher
from leeboard.pipelines.notify.delivery.metrics import NotifyMetrics
from leeboard.pipelines.notify.delivery.queue import Backoff
from leeboard.pipelines.notify.feed.events import Instant
from leeboard.pipelines.notify.feed.fold import FeedFold
from leeboard.pipelines.notify.feed.settings import FeedSettings
from leeboard.pipelines.notify.sinks import MessageSink

from .broker import KafkaFeedBroker
from .loop import FeedLoop


def open_feed(config: Config, sinks: Mapping[str, MessageSink], metrics: NotifyMetrics) -> FeedLoop:
    """A loop that is ready to run. Raises TopicUnreadable, ClientError, kafka.errors.KafkaError if Kafka is not."""
    kafka = config.kafka
    settings = FeedSettings(
        notify=config.notify,
        app_id=kafka.app_id,
        pages_topic=kafka.topics.pages,
        alerts_topic=kafka.topics.alerts,
        session_s=kafka.session_timeout_s,
        keep_payload=config.dead_letters.payload,
    )
    topics = list(settings.streams())
    check_topics(kafka, topics)
    broker = KafkaFeedBroker(kafka, topics, config.watch.accept_days)
    fold = FeedFold(settings, now())
    dispatcher = Dispatcher(
        sinks,
        Backoff(config.notify.retry_hours * 3600.0),
        metrics,
        lambda: fold.may_send(broker.group_version(), time.monotonic()),
    )
    metrics.follow(dispatcher, sinks)
    return FeedLoop(fold, broker, dispatcher, metrics, now)


def now() -> Instant:
    """The clocks of this machine."""
    return Instant(time.monotonic(), time.time())


def check_topics(kafka: KafkaSettings, topics: list[str]) -> None:
    """Check that the topics are as they must be. Raises TopicUnreadable, ClientError, kafka.errors.KafkaError."""
    rights = {topic: ["READ"] for topic in (*topics, kafka.topics.summaries)} | {kafka.topics.dead_letters: ["WRITE"]}
    admin = KafkaAdminClient(**python_client(kafka))
    try:
        found = problems(admin, kafka, rights)
    finally:
        admin.close()
    if found:
        raise TopicUnreadable("\n".join(found))
