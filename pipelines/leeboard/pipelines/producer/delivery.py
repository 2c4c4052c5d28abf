"""From the queue to Kafka: one daemon thread, started by the first call."""

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
from .client import EAR, ITS_OWN, NAME, Client

LOG = logging.getLogger("leeboard.producer")
#: while calls come, the thread looks so often: a thread that sleeps costs the caller a system call to wake
POLL_S = 0.02
#: without calls for so long it sleeps until one comes
IDLE_S = 1.0
#: pauses after failures to reach a broker: doubling from the first to the last
FIRST_PAUSE_S, LAST_PAUSE_S = 0.25, 5.0
#: what a client that failed has on the way may still arrive within so long
LEAVING_S = 5.0
#: nothing was acknowledged for so long while calls wait: trouble
SILENT_S = 10.0

#: scopes whose keys are remembered; an application has a few
MOST_KEYS = 4096
#: bytes that a call takes beside its texts and vectors, about
BARE_BYTES = 1000
#: bytes of a number in a list
NUMBER_BYTES = 32

#: a record and its size
Item: TypeAlias = tuple[Record, int]
#: its number among those handed to clients, size, key and value
Handed: TypeAlias = tuple[int, int, bytes, bytes]


@dataclass(frozen=True)
class Stats:
    """emitted = delivered + failed + queued + the sum of dropped."""

    emitted: int
    #: calls that were not kept: reason -> how many
    dropped: dict[str, int]
    #: acknowledged by the broker
    delivered: int
    #: kept, and given up: refused by the broker, or still on the way when the producer was closed
    failed: int
    #: waiting or on the way
    queued: int
    #: why calls do not get through at present; None: they do, as far as is known
    trouble: str | None


@dataclass(eq=False)
class Flush:
    """A place in the queue: what stands before it is to be delivered."""

    deadline: float
    reached: threading.Event = field(default_factory=threading.Event)
    complete: bool = False


class Stop:
    """The end of the queue."""


@lru_cache(MOST_KEYS)
def call_key(app: str, env: str, route: str) -> bytes:
    """The key of calls on the raw topic: one partition, and so one order, for every scope.

    Without tenant: it depends on the fleet's configuration whether that is part of the scope. Raises TypeError.
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
    except Exception as error:  # what the application put into the fields decides which
        raise Refused("wrong_type", f"{type(error).__name__}: {error}") from None
    if len(value) > MAX_RECORD_BYTES:
        raise Refused("too_large", f"{len(value)} bytes, at most {MAX_RECORD_BYTES}")
    if len(key) > MAX_KEY_BYTES:
        raise Refused("key_too_long", f"at most {MAX_KEY_BYTES} bytes")
    return key, value


def size_of(call: ModelCall) -> int:
    """Bytes that a call keeps in memory, about: its texts and vectors count. Raises TypeError."""
    texts = len(call.input_text or "") + len(call.output_text or "") + len(call.system_text or "")
    if call.input_vector is None and call.output_vector is None:
        return BARE_BYTES + texts
    return BARE_BYTES + texts + NUMBER_BYTES * (len(call.input_vector or ()) + len(call.output_vector or ()))


_numbers = itertools.count(1)


class Delivery:
    """Queue, counters and thread of one process.

    `most_calls` and `most_bytes` bound what waits and what is on the way, together.
    """

    def __init__(self, settings: KafkaSettings, topic: str, most_calls: int, most_bytes: int) -> None:
        self._settings = settings
        self._name = f"{NAME}-{os.getpid()}-{next(_numbers)}"
        self._topic = topic
        self._most_calls, self._most_bytes = most_calls, most_bytes
        self._queue: queue.SimpleQueue[Item | Flush | Stop | None] = queue.SimpleQueue()
        # re-entrant: the handler of a signal may emit while the code that it interrupted does
        self._lock = threading.RLock()
        self._thread: threading.Thread | None = None
        self._client: Client | None = None
        #: the client that failed on a call: it fails on all others then
        self._broken: Client | None = None
        #: calls that a broken client gave back
        self._again: list[Handed] = []
        self._handed = 0
        self._pause_s = FIRST_PAUSE_S
        self._closed = False
        #: the thread gives up after it
        self._deadline = float("inf")
        self._emitted = self._delivered = self._failed = 0
        self._queued = self._queued_bytes = 0
        self._dropped: dict[str, int] = {}
        #: reasons that are in the log, and how many of those in `_dropped`
        self._said: set[str] = set()
        self._reasons = 0
        self._trouble: str | None = None
        #: when a call was acknowledged last, or came into an empty queue
        self._moved = 0.0

    def put(self, record: Record, size: int) -> bool:
        """Keep a record of so many bytes. False: it was dropped."""
        with self._lock:
            if (reason := self.refusal(size)) is not None:
                return self.refuse(reason)
            if self._queued == 0:
                self._moved = time.monotonic()
            self._emitted += 1
            self._queued += 1
            self._queued_bytes += size
            self._queue.put((record, size))
            if self._thread is None:
                self._start()
        return True

    def refusal(self, size: int) -> str | None:
        """Why a call of so many bytes would not be kept now; None: it would."""
        if self._closed:
            return "closed"
        full = self._queued >= self._most_calls or self._queued_bytes + size > self._most_bytes
        return "queue_full" if full else None

    def refuse(self, reason: str) -> bool:
        """Count a call that is not kept; False."""
        with self._lock:
            self._emitted += 1
            if reason not in self._dropped:
                self._dropped[reason] = 0
                self._queue.put(None)  # so that the thread says it in the log
                if self._thread is None and not self._closed:
                    self._start()
            self._dropped[reason] += 1
        return False

    def flush(self, timeout_s: float) -> bool:
        """Wait until nothing that was emitted before is on its way. False: time is up."""
        if self._thread is None:
            return self._queued == 0
        mark = Flush(time.monotonic() + timeout_s)
        self._queue.put(mark)
        return mark.reached.wait(timeout_s) and mark.complete

    def close(self, timeout_s: float) -> bool:
        """Take no more calls, deliver what is there, end the thread. False: calls were lost for lack of time."""
        with self._lock:
            self._closed = True
            self._deadline = time.monotonic() + timeout_s
            failed = self._failed
        if self._thread is not None and self._thread.is_alive():
            self._queue.put(Flush(self._deadline))
            self._queue.put(Stop())
            self._thread.join(timeout_s)
        return self._queued == 0 and self._failed == failed

    def stats(self) -> Stats:
        """Everything that was counted."""
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
        except RuntimeError as error:  # no more threads, or the interpreter ends: the next call tries again
            self._trouble = str(error)
        else:
            self._thread = thread

    def _run(self) -> None:
        while not self._late():
            item = self._next()
            if isinstance(item, Stop):
                break
            if isinstance(item, Flush):
                item.complete = self._flushed(item.deadline)
                item.reached.set()
            elif item is not None:
                self._take(*item)
            self._recover()
            self._report()
        if self._client is not None:
            self._client.shut(max(0.0, self._deadline - time.monotonic()))
        self._lose_the_rest()
        self._report()

    def _next(self) -> Item | Flush | Stop | None:
        """What comes next; None from time to time while nothing does."""
        try:
            return self._queue.get_nowait()
        except queue.Empty:
            pass
        if self._queued == 0 and time.monotonic() - self._moved > IDLE_S:
            return self._queue.get()
        time.sleep(POLL_S)
        return None

    def _take(self, record: Record, size: int) -> None:
        """Encode a record and deliver it."""
        try:
            key, value = encoded(record)
        except Refused as refused:
            with self._lock:
                self._dropped[refused.reason] = self._dropped.get(refused.reason, 0) + 1
                self._settle(size)
        else:
            self._handed += 1
            self._deliver((self._handed, size, key, value))

    def _deliver(self, call: Handed) -> None:
        """Hand a call to the client, as soon as there is one that takes it."""
        _, size, key, value = call
        while not self._late():
            try:
                if self._client is None:
                    EAR.heard.pop(self._name, None)
                    self._client = Client(self._settings, self._name)
                sent = self._client.send(self._topic, value=value, key=key)
            except Exception as error:
                self._in_trouble(error)
                self._pause()
            else:
                sent.add_callback(self._acknowledged, size).add_errback(self._given_back, call, self._client)
                return
        self._again.append(call)

    def _acknowledged(self, size: int, _: object) -> None:
        """Count a delivered call; on the client's thread."""
        with self._lock:
            self._delivered += 1
            self._settle(size)
            self._moved = time.monotonic()
            self._pause_s = FIRST_PAUSE_S
            if self._trouble is not None:
                self._trouble = None
                EAR.heard.pop(self._name, None)

    def _given_back(self, call: Handed, client: Client, error: Exception) -> None:
        """Note that the client failed on a call; on the client's thread, mostly.

        Where the call is at fault it is the first: after it kafka-python fails on all others, with the same error.
        """
        with self._lock:
            if isinstance(error, ITS_OWN) and self._broken is not client:
                self._fail(call[1])
                self._say(type(error).__name__, "the broker refuses calls")
            else:
                self._again.append(call)
                self._in_trouble(error)
            self._broken = client

    def _recover(self) -> None:
        """Replace a broken client, and hand what it gave back to the new one, in order."""
        while self._broken is not None and not self._late():
            assert self._client is not None
            self._client.shut(LEAVING_S)
            with self._lock:
                calls, self._again = sorted(self._again), []
                self._client = self._broken = None
            if self._trouble is not None:
                self._pause()
            for call in calls:
                self._deliver(call)

    def _flushed(self, deadline: float) -> bool:
        """Is everything that the client was given on the broker, or given up?"""
        while time.monotonic() <= deadline:
            self._recover()
            try:
                if self._client is not None:
                    self._client.flush(max(0.0, deadline - time.monotonic()))
            except KafkaTimeoutError:
                return False
            except KafkaError:  # a batch was too large and is sent in halves
                time.sleep(POLL_S)
            else:
                if self._broken is None:
                    return True
        return False

    def _lose_the_rest(self) -> None:
        """Count what is not delivered when time is up."""
        while not self._queue.empty():
            item = self._queue.get()
            if isinstance(item, Flush):
                item.reached.set()
            elif isinstance(item, tuple):
                self._fail(item[1])
        while self._again:
            self._fail(self._again.pop()[1])

    def _fail(self, size: int) -> None:
        with self._lock:
            self._failed += 1
            self._settle(size)

    def _settle(self, size: int) -> None:
        """Note that a record waits no more; under the lock."""
        self._queued -= 1
        self._queued_bytes -= size

    def _late(self) -> bool:
        return time.monotonic() > self._deadline

    def _pause(self) -> None:
        """Let the broker rest, at most until it is time to give up."""
        end = time.monotonic() + self._pause_s
        self._pause_s = min(2 * self._pause_s, LAST_PAUSE_S)
        while (left := min(end, self._deadline) - time.monotonic()) > 0:
            self._report()
            time.sleep(min(left, 2 * POLL_S))

    def _in_trouble(self, error: Exception) -> None:
        """Note why calls do not get through; in the log once a trouble."""
        words = f"{type(error).__name__}: {error}"
        heard = EAR.heard.get(self._name)
        if heard and isinstance(error, TimeoutError | KafkaTimeoutError):  # only the log knows why
            words += f" ({heard})"
        if self._trouble is None:
            LOG.warning("calls do not reach Kafka at present: %s", words)
        self._trouble = words

    def _report(self) -> None:
        """Say in the log what is new: silence of the broker, the first call dropped for a reason."""
        silent = self._queued > 0 and time.monotonic() - self._moved > SILENT_S
        if silent and self._trouble is None:
            self._in_trouble(TimeoutError(f"no acknowledgement for {SILENT_S:g} s"))
        if len(self._dropped) != self._reasons:
            reasons = self.stats().dropped
            self._reasons = len(reasons)
            for reason in reasons:
                self._say(reason, "calls are dropped")

    def _say(self, reason: str, what: str) -> None:
        if reason not in self._said:
            self._said.add(reason)
            LOG.warning("%s: %s (said once; `stats` counts them)", what, reason)
