"""Moves calls from the queue to Kafka: one daemon thread, started by the first call."""

import itertools
import logging
import os
import queue
import threading
import time
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TypeAlias

from kafka.errors import KafkaError, KafkaTimeoutError
from leeboard.schemas import ModelCall, Record, Refused, Score, encode, route_of, scope_key
from leeboard.schemas.scope import MAX_KEY_BYTES
from leeboard.schemas.wire import MAX_RECORD_BYTES

from ..kafka.settings import KafkaSettings
from .client import CALL_ERRORS, CLIENT_NAME, LIBRARY_LOG, ProducerClient

log = logging.getLogger("leeboard.producer")
#: while calls come, the thread polls so often: to wake a sleeping thread costs the caller a system call
QUEUE_POLL_S = 0.02
#: after so long without calls the thread sleeps until one comes
IDLE_S = 1.0
#: pauses after failures to reach a broker: doubled from the first to the last
FIRST_PAUSE_S, LAST_PAUSE_S = 0.25, 5.0
#: how long a failed client may still deliver what it has in flight
DRAIN_S = 5.0
#: calls wait and nothing was acknowledged for so long: reported as trouble
UNACKNOWLEDGED_S = 10.0

#: scopes whose keys are remembered; an application has a few
MAX_KEYS = 4096
#: bytes that a call needs beside its texts and vectors, about
CALL_OVERHEAD_BYTES = 1000
#: bytes of a number in a list
LIST_ITEM_BYTES = 32

#: a record and its size
QueuedRecord: TypeAlias = tuple[Record, int]
#: the number of a record among those sent to clients, its size, key and value
EncodedRecord: TypeAlias = tuple[int, int, bytes, bytes]


@dataclass(frozen=True)
class Stats:
    """emitted = delivered + failed + queued + the sum of dropped."""

    emitted: int
    #: calls that were not queued: reason -> how many
    dropped: dict[str, int]
    #: acknowledged by the broker
    delivered: int
    #: queued, but refused by the broker, or still in flight when the producer was closed
    failed: int
    #: waiting or in flight
    queued: int
    #: why calls do not reach Kafka at present; None if no error is known
    trouble: str | None


@dataclass(eq=False)
class FlushRequest:
    """A position in the queue: everything before it is to be delivered."""

    deadline: float
    reached: threading.Event = field(default_factory=threading.Event)
    complete: bool = False


class StopRequest:
    """The end of the queue."""


@lru_cache(MAX_KEYS)
def call_key(app: str, env: str, route: str) -> bytes:
    """The key of calls on the raw topic: all calls of a scope go to one partition, in order.

    The tenant is left out: the workers' configuration decides whether it is part of the scope. Raises TypeError.
    """
    return scope_key(None, app, env, route).encode()


def key_of(record: Record) -> bytes:
    """The key of a record: its scope; of a score that of its call. Raises TypeError."""
    if isinstance(record, ModelCall):
        return call_key(record.app, record.env, route_of(record))
    if isinstance(record, Score):
        return call_key(record.app, record.env, record.route)
    return scope_key(record.tenant, record.app, record.env, record.route).encode()


def encoded(record: Record) -> tuple[bytes, bytes]:
    """Key and value. Raises Refused."""
    try:
        key, value = key_of(record), encode(record)
    except Exception as error:  # which one depends on the values of the fields
        raise Refused("wrong_type", f"{type(error).__name__}: {error}") from None
    if len(value) > MAX_RECORD_BYTES:
        raise Refused("too_large", f"{len(value)} bytes, at most {MAX_RECORD_BYTES}")
    if len(key) > MAX_KEY_BYTES:
        raise Refused("key_too_long", f"at most {MAX_KEY_BYTES} bytes")
    return key, value


def size_of(call: ModelCall) -> int:
    """Bytes of memory that a call needs, about: its texts and vectors count. Raises TypeError."""
    texts = len(call.input_text or "") + len(call.output_text or "") + len(call.system_text or "")
    if call.input_vector is None and call.output_vector is None:
        return CALL_OVERHEAD_BYTES + texts
    return (
        CALL_OVERHEAD_BYTES + texts + LIST_ITEM_BYTES * (len(call.input_vector or ()) + len(call.output_vector or ()))
    )


_numbers = itertools.count(1)


class Delivery:
    """Queue, counters and thread of one process.

    `most_calls` and `most_bytes` bound what waits and what is in flight, together.
    """

    def __init__(self, settings: KafkaSettings, topic: str, most_calls: int, most_bytes: int) -> None:
        self._settings = settings
        self._name = f"{CLIENT_NAME}-{os.getpid()}-{next(_numbers)}"
        self._topic = topic
        self._most_calls, self._most_bytes = most_calls, most_bytes
        self._queue: queue.SimpleQueue[QueuedRecord | FlushRequest | StopRequest | None] = queue.SimpleQueue()
        # re-entrant: a signal handler may emit while the interrupted code holds the lock
        self._lock = threading.RLock()
        self._thread: threading.Thread | None = None
        self._client: ProducerClient | None = None
        #: the client that failed on a call: it then fails on all others
        self._broken: ProducerClient | None = None
        #: calls that a broken client did not deliver
        self._returned: list[EncodedRecord] = []
        self._sent = 0
        self._pause_s = FIRST_PAUSE_S
        self._closed = False
        #: the thread ends after it
        self._deadline = float("inf")
        self._emitted = self._delivered = self._failed = 0
        self._queued = self._queued_bytes = 0
        self._dropped: dict[str, int] = {}
        #: what was logged already, and how many reasons of `_dropped` were reported
        self._logged: set[str] = set()
        self._reasons = 0
        self._trouble: str | None = None
        #: when a call was last acknowledged, or came into an empty queue
        self._progress_s = 0.0

    def put(self, record: Record, size: int) -> bool:
        """Queue a record of `size` bytes. False: it was dropped."""
        with self._lock:
            if (reason := self.refusal(size)) is not None:
                return self.refuse(reason)
            if self._queued == 0:
                self._progress_s = time.monotonic()
            self._emitted += 1
            self._queued += 1
            self._queued_bytes += size
            self._queue.put((record, size))
            if self._thread is None:
                self._start()
        return True

    def refusal(self, size: int) -> str | None:
        """Why a call of `size` bytes would be dropped now; None if it would be queued."""
        if self._closed:
            return "closed"
        full = self._queued >= self._most_calls or self._queued_bytes + size > self._most_bytes
        return "queue_full" if full else None

    def refuse(self, reason: str) -> bool:
        """Count a call that is not queued. Returns False."""
        with self._lock:
            self._emitted += 1
            if reason not in self._dropped:
                self._dropped[reason] = 0
                self._queue.put(None)  # so that the thread logs it
                if self._thread is None and not self._closed:
                    self._start()
            self._dropped[reason] += 1
        return False

    def flush(self, timeout_s: float) -> bool:
        """Wait until everything that was emitted before is delivered or has failed. False: time is up."""
        if self._thread is None:
            return self._queued == 0
        request = FlushRequest(time.monotonic() + timeout_s)
        self._queue.put(request)
        return request.reached.wait(timeout_s) and request.complete

    def close(self, timeout_s: float) -> bool:
        """Accept no more calls, deliver what waits, end the thread. False: calls were lost for lack of time."""
        with self._lock:
            self._closed = True
            self._deadline = time.monotonic() + timeout_s
            failed = self._failed
        if self._thread is not None and self._thread.is_alive():
            self._queue.put(FlushRequest(self._deadline))
            self._queue.put(StopRequest())
            self._thread.join(timeout_s)
        return self._queued == 0 and self._failed == failed

    def stats(self) -> Stats:
        """All counts."""
        with self._lock:
            return Stats(
                emitted=self._emitted,
                dropped=dict(self._dropped),
                delivered=self._delivered,
                failed=self._failed,
                queued=self._queued,
                trouble=self._trouble,
            )

    def _start(self) -> None:
        thread = threading.Thread(target=self._run, name=self._name, daemon=True)
        try:
            thread.start()
        except RuntimeError as error:  # no more threads, or the interpreter ends: the next call retries
            self._trouble = str(error)
        else:
            self._thread = thread

    def _run(self) -> None:
        while not self._past_deadline():
            item = self._next()
            if isinstance(item, StopRequest):
                break
            if isinstance(item, FlushRequest):
                item.complete = self._flushed(item.deadline)
                item.reached.set()
            elif item is not None:
                self._encode_and_send(*item)
            self._recover()
            self._report()
        if self._client is not None:
            self._client.shut(max(0.0, self._deadline - time.monotonic()))
        self._count_undelivered()
        self._report()

    def _next(self) -> QueuedRecord | FlushRequest | StopRequest | None:
        """The next item of the queue; None from time to time while it is empty."""
        try:
            return self._queue.get_nowait()
        except queue.Empty:
            pass
        if self._queued == 0 and time.monotonic() - self._progress_s > IDLE_S:
            return self._queue.get()
        time.sleep(QUEUE_POLL_S)
        return None

    def _encode_and_send(self, record: Record, size: int) -> None:
        """Encode a record and send it."""
        try:
            key, value = encoded(record)
        except Refused as refused:
            with self._lock:
                self._dropped[refused.reason] = self._dropped.get(refused.reason, 0) + 1
                self._release(size)
        else:
            self._sent += 1
            self._send((self._sent, size, key, value))

    def _send(self, call: EncodedRecord) -> None:
        """Pass a call to the client; retry until a client accepts it or time is up."""
        _, size, key, value = call
        while not self._past_deadline():
            try:
                if self._client is None:
                    LIBRARY_LOG.first_errors.pop(self._name, None)
                    self._client = ProducerClient(self._settings, self._name)
                sent = self._client.send(self._topic, value=value, key=key)
            except Exception as error:
                self._note_trouble(error)
                self._pause()
            else:
                sent.add_callback(self._acknowledged, size).add_errback(self._not_delivered, call, self._client)
                return
        self._returned.append(call)

    def _acknowledged(self, size: int, _: object) -> None:
        """Count a delivered call; on the client's thread."""
        with self._lock:
            self._delivered += 1
            self._release(size)
            self._progress_s = time.monotonic()
            self._pause_s = FIRST_PAUSE_S
            if self._trouble is not None:
                self._trouble = None
                LIBRARY_LOG.first_errors.pop(self._name, None)

    def _not_delivered(self, call: EncodedRecord, client: ProducerClient, error: Exception) -> None:
        """Note that the client failed on a call; mostly on the client's thread.

        If the call is at fault, it is the first: after it kafka-python fails on all others, with the same error.
        """
        with self._lock:
            if isinstance(error, CALL_ERRORS) and self._broken is not client:
                self._fail(call[1])
                self._log_once(type(error).__name__, "the broker refuses calls")
            else:
                self._returned.append(call)
                self._note_trouble(error)
            self._broken = client

    def _recover(self) -> None:
        """Replace a broken client, and send what it did not deliver with the new one, in order."""
        while self._broken is not None and not self._past_deadline():
            assert self._client is not None
            self._client.shut(DRAIN_S)
            with self._lock:
                calls, self._returned = sorted(self._returned), []
                self._client = self._broken = None
            if self._trouble is not None:
                self._pause()
            for call in calls:
                self._send(call)

    def _flushed(self, deadline: float) -> bool:
        """Is everything that was sent acknowledged, or has it failed?"""
        while time.monotonic() <= deadline:
            self._recover()
            try:
                if self._client is not None:
                    self._client.flush(max(0.0, deadline - time.monotonic()))
            except KafkaTimeoutError:
                return False
            except KafkaError:  # a batch was too large and is sent in halves
                time.sleep(QUEUE_POLL_S)
            else:
                if self._broken is None:
                    return True
        return False

    def _count_undelivered(self) -> None:
        """Count as failed what is not delivered when time is up."""
        while not self._queue.empty():
            item = self._queue.get()
            if isinstance(item, FlushRequest):
                item.reached.set()
            elif isinstance(item, tuple):
                self._fail(item[1])
        while self._returned:
            self._fail(self._returned.pop()[1])

    def _fail(self, size: int) -> None:
        with self._lock:
            self._failed += 1
            self._release(size)

    def _release(self, size: int) -> None:
        """Subtract a record from what waits. To be called under the lock."""
        self._queued -= 1
        self._queued_bytes -= size

    def _past_deadline(self) -> bool:
        return time.monotonic() > self._deadline

    def _pause(self) -> None:
        """Wait before the next attempt, at most until the deadline."""
        end = time.monotonic() + self._pause_s
        self._pause_s = min(2 * self._pause_s, LAST_PAUSE_S)
        while (left := min(end, self._deadline) - time.monotonic()) > 0:
            self._report()
            time.sleep(min(left, 2 * QUEUE_POLL_S))

    def _note_trouble(self, error: Exception) -> None:
        """Note why calls do not reach Kafka; log it once until they do again."""
        words = f"{type(error).__name__}: {error}"
        cause = LIBRARY_LOG.first_errors.get(self._name)
        if cause and isinstance(error, TimeoutError | KafkaTimeoutError):  # the exception has no cause, the log has
            words += f" ({cause})"
        if self._trouble is None:
            log.warning("calls do not reach Kafka at present: %s", words)
        self._trouble = words

    def _report(self) -> None:
        """Log what is new: a broker that acknowledges nothing, the first call dropped for a reason."""
        silent = self._queued > 0 and time.monotonic() - self._progress_s > UNACKNOWLEDGED_S
        if silent and self._trouble is None:
            self._note_trouble(TimeoutError(f"no acknowledgement for {UNACKNOWLEDGED_S:g} s"))
        if len(self._dropped) != self._reasons:
            reasons = self.stats().dropped
            self._reasons = len(reasons)
            for reason in reasons:
                self._log_once(reason, "calls are dropped")

    def _log_once(self, reason: str, what: str) -> None:
        if reason not in self._logged:
            self._logged.add(reason)
            log.warning("%s: %s (logged once; `stats` counts them)", what, reason)
