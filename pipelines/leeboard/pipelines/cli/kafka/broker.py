"""Connections to Kafka for commands: whatever goes wrong ends with what to do about it."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from kafka import KafkaAdminClient
from kafka.errors import KafkaError
from leeboard.pipelines.cli.common import fail
from leeboard.pipelines.kafka.clients import ClientError, explain_failure, python_client
from leeboard.pipelines.kafka.operate.reading import TopicUnreadable, consumer_of
from leeboard.pipelines.kafka.settings import KafkaSettings


@contextmanager
def explained(settings: KafkaSettings) -> Iterator[None]:
    """Ends with what to do where a broker, a topic or a right is missing."""
    log = logging.getLogger("kafka")
    level = log.level
    log.setLevel(logging.CRITICAL)  # what kafka-python logs on the way is said again, better, by `explain_failure`
    try:
        yield
    except TopicUnreadable as error:
        fail(str(error))
    except (KafkaError, ClientError) as error:
        fail(explain_failure(error, settings))
    finally:
        log.setLevel(level)


@contextmanager
def administration(settings: KafkaSettings) -> Iterator[Any]:
    """A connection for administration."""
    with explained(settings):
        admin = KafkaAdminClient(**python_client(settings))
        try:
            yield admin
        finally:
            admin.close()


@contextmanager
def reading(settings: KafkaSettings) -> Iterator[Any]:
    """A consumer without a group that reads committed records."""
    with explained(settings), consumer_of(settings) as consumer:
        yield consumer
