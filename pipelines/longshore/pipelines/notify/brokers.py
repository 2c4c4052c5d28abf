"""Opening clients of Kafka for people: what goes wrong is told in one sentence that says what to set or grant."""

import logging
import socket
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.errors import (
    GroupAuthorizationFailedError,
    KafkaConfigurationError,
    KafkaError,
    KafkaTimeoutError,
    TopicAuthorizationFailedError,
)

from ..kafka.clients import ClientError, python_client
from ..kafka.settings import KafkaSettings

#: one TCP connection, to tell a broker that is down from one that hangs up
PROBE_S = 2.0
#: the first answer of a broker: somebody may be waiting at a terminal
BOOTSTRAP_MS = 5000
#: the first answer of a broker: somebody may be waiting at a terminal
BOOTSTRAP_MS = 5000
#: a question to a broker that has answered before
ASK_MS = 5000
#: reading back that does not come forward for so long has lost its broker
STUCK_S = 30.0
LOGIN = "check kafka.security.username and LONGSHORE__KAFKA__SECURITY__PASSWORD (or password_file)"
#: what kafka-python says in its log, and what to do about it
HINTS = (
    ("CERTIFICATE_VERIFY_FAILED", "its certificate is not trusted: set kafka.security.ca_file"),
    ("UnsupportedSaslMechanism", "it does not offer kafka.security.mechanism = {mechanism!r}"),
    ("SaslAuthenticationFailed", f"it refuses the login: {LOGIN}"),
    ("DNS", "its name is not known: check kafka.bootstrap_servers"),
)


class BrokerProblem(Exception):
    """Kafka cannot be used as it is; the message says what to do."""


class _Listening(logging.Handler):
    """Keeps what kafka-python says while it connects: its exceptions say only that it did not."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.said: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Note a line, the first hundred."""
        if len(self.said) < 100:
            self.said.append(record.getMessage())


@contextmanager
def _explained(settings: KafkaSettings) -> Iterator[None]:
    logger = logging.getLogger("kafka")
    listening = _Listening()
    logger.addHandler(listening)
    try:
        yield
    except ClientError as error:
        raise BrokerProblem(str(error)) from None
    except KafkaConfigurationError as error:
        raise BrokerProblem(f"[kafka]: {error}") from None
    except (KafkaError, OSError) as error:
        raise BrokerProblem(_why(settings, listening.said, error)) from None
    finally:
        logger.removeHandler(listening)


def _why(settings: KafkaSettings, said: list[str], error: Exception) -> str:
    """Why no broker could be used."""
    security = settings.security
    servers = ", ".join(settings.bootstrap_servers)
    for word, hint in HINTS:
        if any(word in line for line in said):
            return f"no Kafka broker at {servers}: {hint.format(mechanism=security.mechanism)}"
    if not isinstance(error, KafkaTimeoutError):
        return f"no Kafka broker at {servers}: {error}"
    if not any(_listens(server) for server in settings.bootstrap_servers):
        return f"no Kafka broker at {servers}: nobody listens there; is it running, is kafka.bootstrap_servers right?"
    if security.sasl:
        return (
            f"the Kafka broker at {servers} hangs up: wrong login? {LOGIN}, then kafka.security.mechanism and protocol"
        )
    return f"the Kafka broker at {servers} hangs up: does it want TLS or a login? Check kafka.security.protocol"


def _listens(server: str) -> bool:
    host, _, port = server.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), PROBE_S).close()
    except (OSError, ValueError, OverflowError):
        return False
    return True


def _client(settings: KafkaSettings) -> dict[str, Any]:
    return {**_client(settings), "bootstrap_timeout_ms": BOOTSTRAP_MS}


def _made(made: Callable[..., Any], settings: KafkaSettings, **options: Any) -> Any:
    """A client; one that finds no broker is closed, which its constructor leaves undone (a thread, some sockets)."""
    networks: list[Any] = []

    def network(**arguments: Any) -> Any:
        networks.append(made.DEFAULT_CONFIG["kafka_client"](**arguments))  # type: ignore[attr-defined]
        return networks[-1]

    with _explained(settings):
        try:
            return made(
                **python_client(settings) | {"bootstrap_timeout_ms": BOOTSTRAP_MS}, kafka_client=network, **options
            )
        except BaseException:
            for each in networks:
                each.close()
            raise


def open_consumer(settings: KafkaSettings, group: str | None = None) -> KafkaConsumer:
    """A consumer that reads what is committed and commits by hand. Raises BrokerProblem."""
    return _made(
        KafkaConsumer,
        settings,
        group_id=group,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        isolation_level="read_committed",
        allow_auto_create_topics=False,
        session_timeout_ms=int(settings.session_timeout_s * 1000),
        heartbeat_interval_ms=int(settings.session_timeout_s * 1000 / 5),
    )


def open_producer(settings: KafkaSettings) -> KafkaProducer:
    """A producer of few records that must not be lost. Raises BrokerProblem."""
    return _made(KafkaProducer, settings, acks="all", max_block_ms=ASK_MS)


def partitions_of(consumer: KafkaConsumer, topics: Iterable[str]) -> dict[str, list[TopicPartition]]:
    """The partitions of topics. Raises BrokerProblem where one is missing or may not be read."""
    found = {}
    for topic in topics:
        numbers = consumer.partitions_for_topic(topic)
        partitions = [TopicPartition(topic, number) for number in sorted(numbers or {0})]
        try:
            consumer.end_offsets(partitions, timeout_ms=ASK_MS)
        except TopicAuthorizationFailedError:
            raise BrokerProblem(f"no right to topic {topic}: grant this user READ (and DESCRIBE) on it") from None
        except KafkaError as error:
            if numbers:
                raise BrokerProblem(f"topic {topic}: {error}") from None
            raise BrokerProblem(
                f"topic {topic} is missing: make it (`longshore topics apply`), or correct kafka.topics"
            ) from None
        found[topic] = partitions
    return found


@contextmanager
def explained_rights(group: str) -> Iterator[None]:
    """Turn a refusal of the broker into a BrokerProblem."""
    try:
        yield
    except GroupAuthorizationFailedError:
        raise BrokerProblem(f"no right to consumer group {group}: grant this user READ on it") from None
    except TopicAuthorizationFailedError as error:
        raise BrokerProblem(f"no right to topic {error.args[0] if error.args else ''}: grant this user READ") from None


def read_between(consumer: KafkaConsumer, partition: TopicPartition, start: int, stop: int) -> Iterator[Any]:
    """The records of a partition from offset `start` up to `stop`. Raises BrokerProblem where they do not come."""
    consumer.assign([partition])
    consumer.seek(partition, start)
    deadline = time.monotonic() + STUCK_S
    while (consumer.position(partition) or 0) < stop:
        for records in consumer.poll(timeout_ms=500).values():
            deadline = time.monotonic() + STUCK_S
            for record in records:
                if record.offset >= stop:
                    return
                yield record
        if time.monotonic() > deadline:
            raise BrokerProblem(f"topic {partition.topic} cannot be read back: no record for {STUCK_S:g} s")
