"""Sends records to a topic as fast as the broker accepts them: waits when an application's producer would drop."""

import time
from collections.abc import Callable

from kafka.errors import KafkaError, KafkaTimeoutError
from leeboard.schemas import ModelCall, Record

from ..kafka.clients import ClientError
from ..kafka.settings import KafkaSettings
from .client import ProducerClient
from .delivery import CALL_OVERHEAD_BYTES, Delivery, Stats, size_of
from .producer import MAX_QUEUED_BYTES, MAX_QUEUED_CALLS

#: it fails after so long without an acknowledgement. A broker that restarts needs 5 to 15 s
FEED_PATIENCE_S = 60.0
#: how often it checks for room in the queue
FEED_POLL_S = 0.005


class FeedError(Exception):
    """Records cannot be sent; the message says what to do."""


class RecordFeed:
    """Sends records to one topic, keyed by scope, each once (idempotent), in order for each key.

    A broker may go away for up to FEED_PATIENCE_S. Raises FeedError if there is none, or no such topic.
    """

    def __init__(self, settings: KafkaSettings, topic: str) -> None:
        _check(settings, topic)
        self._delivery = Delivery(settings, topic, MAX_QUEUED_CALLS, MAX_QUEUED_BYTES)

    def send(self, record: Record) -> None:
        """Send a record, once there is room for it. Raises FeedError if the broker acknowledges nothing any more."""
        size = size_of(record) if isinstance(record, ModelCall) else CALL_OVERHEAD_BYTES
        self._wait(lambda: self._delivery.refusal(size) is None)
        self._delivery.put(record, size)

    def finish(self) -> Stats:
        """Wait until all is delivered. Raises FeedError if the broker acknowledges nothing any more."""
        self._wait(lambda: self._delivery.flush(0.2))
        self._delivery.close(FEED_PATIENCE_S)
        return self._delivery.stats()

    def stop(self) -> None:
        """End without waiting; what is in flight is lost."""
        self._delivery.close(0)

    def _wait(self, ready: Callable[[], bool]) -> None:
        delivered, since = -1, time.monotonic()
        while not ready():
            stats = self._delivery.stats()
            if stats.delivered != delivered:
                delivered, since = stats.delivered, time.monotonic()
            if time.monotonic() - since > FEED_PATIENCE_S:
                self.stop()
                raise FeedError(f"nothing was acknowledged for {FEED_PATIENCE_S:g} s: {stats.trouble}")
            time.sleep(FEED_POLL_S)


def _check(settings: KafkaSettings, topic: str) -> None:
    """Raise FeedError if the broker, the login or the topic cannot be used."""
    try:
        client = ProducerClient(settings)
    except ClientError as error:
        raise FeedError(str(error)) from None
    except (OSError, KafkaError) as error:
        raise FeedError(f"no broker: {error} (kafka.bootstrap_servers)") from None
    try:
        client.partitions_for(topic)
    except KafkaTimeoutError:
        raise FeedError(f"there is no topic {topic} (kafka.topics): it has to be created first") from None
    except KafkaError as error:
        raise FeedError(f"topic {topic}: {error}") from None
    finally:
        client.shut(0)
