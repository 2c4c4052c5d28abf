"""kafka-python's producer, made fit for an application: it does not log much, and only we close it."""

# a host look-up imports it; in a child that was forked at that moment the import never ends
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

CLIENT_NAME = "leeboard-producer"
#: a forced close fails what is in flight at once
FORCED_CLOSE_S = 1.0
#: errors of a single call; other calls can be delivered
CALL_ERRORS = (MessageSizeTooLargeError, RecordListTooLargeError, InvalidRecordError)
#: how long a broker may take to accept a connection
CONNECT_TIMEOUT_S = 2.0
CLIENT_ARGUMENTS: dict[str, Any] = {
    "acks": "all",
    "enable_idempotence": True,
    # texts shrink to a fifth; costs less CPU than the checksum of what it saves (kafka-python's is in Python unless the
    # package crc32c is installed): 105 us a call instead of 216, with crc32c 65 instead of 26
    "compression_type": "gzip",
    "linger_ms": 20,
    "batch_size": 1 << 16,
    # a call of the largest size with its key and overhead
    "max_request_size": MAX_RECORD_BYTES + (1 << 16),
    # a send without metadata fails after so long
    "max_block_ms": 2000,
    "request_timeout_ms": 10_000,
    # must exceed linger + request timeout. The queue is bounded by number and bytes, not by time: after an outage its
    # calls are as useful as before. A day, since *watch* leaves out calls that are seven days late
    "delivery_timeout_ms": 24 * 3600 * 1000,
    "allow_auto_create_topics": False,
    "metrics_enabled": False,
    # for a broker that has accepted a connection (`check_reachable`)
    "bootstrap_timeout_ms": 5000,
}


class ProducerClient(KafkaProducer):  # type: ignore[misc] # kafka-python has no types
    """A producer that only `shut` closes.

    kafka-python closes its producers at exit, before our thread has flushed them. It also closes them when they are
    garbage-collected, even in a forked child, where it waits for a thread that does not exist.
    """

    def __init__(self, settings: KafkaSettings, name: str = CLIENT_NAME) -> None:
        """Connect as `name`, which begins with CLIENT_NAME.

        Raises ClientError for wrong settings, OSError if nothing listens or answers, KafkaError.
        """
        arguments = {**python_client(settings), **CLIENT_ARGUMENTS, "client_id": name}
        check_reachable(settings)
        filter_library_loggers()
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
        """Do nothing: see `shut`."""

    def shut(self, timeout_s: float) -> None:
        """Close; what is not delivered after `timeout_s` fails."""
        try:
            super().close(timeout_s)
        except KafkaError:  # something is in flight, and its close stopped there
            self._sender.force_close()
            self._sender.join(FORCED_CLOSE_S)


def _unanswered(settings: KafkaSettings) -> str:
    """What to check when no broker answers; one that refuses a login may close the connection without an error."""
    security = settings.security
    user = f", user {security.username}" if security.sasl else ""
    checks = "protocol" + (", certificates" if security.tls else "") + (", user and password" if user else "")
    servers = ", ".join(settings.bootstrap_servers)
    return f"{servers} does not answer as {security.protocol}{user}: check {checks}"


def check_reachable(settings: KafkaSettings) -> None:
    """Raise OSError if no broker accepts a connection.

    A client that is made without a broker waits until its timeout, and cannot be closed meanwhile.
    """
    failed: OSError | None = None
    for server in settings.bootstrap_servers:
        host, _, port = server.rpartition(":")
        try:
            with socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECT_TIMEOUT_S):
                return
        except ValueError:
            raise OSError(f"{server}: not host:port") from None
        except OSError as error:
            failed = OSError(f"{server}: {error.strerror or error}")
    raise failed or OSError("no bootstrap servers")


#: loggers whose errors give a cause; others only report that something failed
CAUSE_LOGGERS = ("kafka.net.connection", "kafka.cluster")


class LibraryLogFilter(logging.Filter):
    """Keeps kafka-python's lines from our threads out of the application's log, and remembers the first error.

    While a broker is down these are several lines a second. With "leeboard.producer" at level DEBUG they pass.
    """

    def __init__(self) -> None:
        super().__init__()
        #: name of a client, which is in the names of its threads -> the first error since it was cleared
        self.first_errors: dict[str, str] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Is the record from a thread of somebody else?"""
        thread = record.threadName or ""
        if not thread.startswith(CLIENT_NAME):
            return True
        if record.levelno >= logging.ERROR and record.name in CAUSE_LOGGERS:
            name, words = thread.removesuffix("-network-thread"), record.getMessage()
            if name not in self.first_errors or "Authentication" in words:  # the cause, but not always the first error
                self.first_errors[name] = words
        return logging.getLogger("leeboard.producer").isEnabledFor(logging.DEBUG)


LIBRARY_LOG = LibraryLogFilter()


def filter_library_loggers() -> None:
    """Add the filter to every logger of kafka-python (a parent's filter does not see the lines of its children)."""
    for name in list(logging.root.manager.loggerDict):
        if name.startswith("kafka."):
            logging.getLogger(name).addFilter(LIBRARY_LOG)  # no effect if it is there
