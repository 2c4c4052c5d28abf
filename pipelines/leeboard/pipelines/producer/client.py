"""kafka-python's producer, as an application can bear it: quiet, and closed by nobody but us."""

# looking up a host imports it: a process that forks in that moment has a child in which the import never ends
import encodings.idna  # noqa: F401
import logging
import socket
from typing import Any

from kafka import KafkaProducer
from kafka.errors import (
    InvalidRecordError,
    KafkaError,
    KafkaTimeoutError,
    MessageSizeTooLargeError,
    RecordListTooLargeError,
)
from kafka.net.compat import KafkaNetClient
from leeboard.schemas.wire import MAX_RECORD_BYTES

from ..kafka.clients import python_client
from ..kafka.settings import KafkaSettings

NAME = "leeboard-producer"
#: a forced close fails what is on the way at once
FORCED_S = 1.0
#: errors that are a call's own; other calls pass
ITS_OWN = (MessageSizeTooLargeError, RecordListTooLargeError, InvalidRecordError)
#: how long a broker may take to answer when knocked at
KNOCK_S = 2.0
ARGUMENTS: dict[str, Any] = {
    "acks": "all",
    "enable_idempotence": True,
    # texts shrink to a fifth; costs less CPU than the checksum of what it saves (kafka-python's is in Python unless the
    # package crc32c is installed): 105 us a call instead of 216, with crc32c 65 instead of 26
    "compression_type": "gzip",
    "linger_ms": 20,
    "batch_size": 1 << 16,
    # a call of the largest size with its key and overhead
    "max_request_size": MAX_RECORD_BYTES + (1 << 16),
    # a send without metadata gives the thread back after so long
    "max_block_ms": 2000,
    "request_timeout_ms": 10_000,
    # must exceed linger + request timeout. What waits is bounded by number and bytes, not by time: calls of an outage
    # are worth as much after it. A day, since later than 7 days nobody takes them
    "delivery_timeout_ms": 24 * 3600 * 1000,
    "allow_auto_create_topics": False,
    "metrics_enabled": False,
    # for a broker that has accepted a connection (`knock`)
    "bootstrap_timeout_ms": 5000,
}


class Client(KafkaProducer):  # type: ignore[misc] # kafka-python has no types
    """A producer that only `shut` closes.

    kafka-python closes its producers at exit, before whoever fills them has flushed, and when they are collected, in a
    forked child too, where it waits for a thread that is not there.
    """

    def __init__(self, settings: KafkaSettings, name: str = NAME) -> None:
        """Connect as `name`, which begins with NAME.

        Raises ClientError for settings, OSError where nothing listens or answers, KafkaError.
        """
        arguments = {**python_client(settings), **ARGUMENTS, "client_id": name}
        knock(settings)
        listen()
        made: list[KafkaNetClient] = []

        def make(**arguments: Any) -> KafkaNetClient:
            made.append(KafkaNetClient(**arguments))
            return made[0]

        try:
            super().__init__(**arguments, kafka_client=make)
        except BaseException as error:
            for network in made:  # kafka-python leaves its sockets to the garbage collector
                network.close()
            if isinstance(error, KafkaTimeoutError):
                raise TimeoutError(_unanswered(settings)) from None
            raise

    def close(self, timeout: float | None = None, null_logger: bool = False) -> None:
        """Nothing."""

    def shut(self, timeout_s: float) -> None:
        """Close; what is not delivered by then fails."""
        try:
            super().close(timeout_s)
        except KafkaError:  # something is on the way: its close ended there
            self._sender.force_close()
            self._sender.join(FORCED_S)


def _unanswered(settings: KafkaSettings) -> str:
    """Say what may be wrong; a broker that refuses a login may close the connection without a word."""
    security = settings.security
    user = f", user {security.username}" if security.sasl else ""
    checks = "protocol" + (", certificates" if security.tls else "") + (", user and password" if user else "")
    servers = ", ".join(settings.bootstrap_servers)
    return f"{servers} does not answer as {security.protocol}{user}: check {checks}"


def knock(settings: KafkaSettings) -> None:
    """Raise OSError where no broker accepts a connection.

    A client that is made without a broker waits for one until its time is up, and cannot be told that it is closed.
    """
    failed: OSError | None = None
    for server in settings.bootstrap_servers:
        host, _, port = server.rpartition(":")
        try:
            with socket.create_connection((host.strip("[]"), int(port)), timeout=KNOCK_S):
                return
        except ValueError:
            raise OSError(f"{server}: not host:port") from None
        except OSError as error:
            failed = OSError(f"{server}: {error.strerror or error}")
    raise failed or OSError("no bootstrap servers")


#: loggers that say why; others only say that something failed
CAUSES = ("kafka.net.connection", "kafka.cluster")


class Ear(logging.Filter):
    """Keeps what kafka-python says on our threads out of the application's log, and remembers the first complaint.

    While a broker is down that is several lines a second. With "leeboard.producer" at level DEBUG they pass.
    """

    def __init__(self) -> None:
        super().__init__()
        #: name of a client, which its threads have -> what went wrong first since it was cleared
        self.heard: dict[str, str] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Is the record somebody else's?"""
        thread = record.threadName or ""
        if not thread.startswith(NAME):
            return True
        if record.levelno >= logging.ERROR and record.name in CAUSES:
            name, words = thread.removesuffix("-network-thread"), record.getMessage()
            if name not in self.heard or "Authentication" in words:  # which a broker does not always say at once
                self.heard[name] = words
        return logging.getLogger("leeboard.producer").isEnabledFor(logging.DEBUG)


EAR = Ear()


def listen() -> None:
    """Put the ear to every logger of kafka-python (a filter of a parent does not see what children say)."""
    for name in list(logging.root.manager.loggerDict):
        if name.startswith("kafka."):
            logging.getLogger(name).addFilter(EAR)  # again: no effect
