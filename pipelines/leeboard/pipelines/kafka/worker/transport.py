"""Faust's consumer with one difference: whole fetched lists go to a sink, not record by record through streams.

Membership, rebalances, the fetch thread, flow control and supervision stay Faust's. A record costs 3 us of CPU this
way, and a hundred through agents (docs/BENCHMARKS.md). The price: the code relies on private names of Faust 0.15.3.
Hence its version is pinned, and `tests/kafka/test_transport_contract.py` checks every one of those names.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import faust
from faust.transport.drivers import aiokafka as driver
from faust.types import TP
from leeboard.pipelines.runtime.exits import CRASH_EXIT, exit_process
from leeboard.pipelines.runtime.fold import IncomingRecord

log = logging.getLogger(__name__)

#: gets the records of one partition, and the generation of the consumer group in which they were fetched
RecordSink = Callable[[TP, Sequence[IncomingRecord], int], Awaitable[None]]
#: longest wait for records
MAX_POLL_S = 1.0
#: a sink that has not returned for so long hangs: longer than the longest wait for a stalled embedder
#: (`embedder.timeout_s` is at most 120), and longer than a batch of a slow one takes
SINK_HANGS_S = 300.0


class IdleClock:
    """How long the consumer has waited for records, or for a sink that hangs. A busy sink's time does not count."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._total_s = 0.0
        self._since_s = clock()
        self._busy = False

    def busy(self, busy: bool) -> None:
        """A sink has begun to work on records, or has finished."""
        self._total_s, self._since_s, self._busy = self.seconds(), self._clock(), busy

    def seconds(self) -> float:
        """The time so far."""
        return self._total_s + max(self._clock() - self._since_s - (SINK_HANGS_S if self._busy else 0.0), 0.0)


class CommittedThread(driver.AIOKafkaConsumerThread):
    """Faust's fetch thread, reading committed records only: `alerts` is written in transactions."""

    def _create_worker_consumer(self, transport: Any) -> Any:
        consumer = super()._create_worker_consumer(transport)
        consumer._isolation_level = "read_committed"
        return consumer


class BatchConsumer(driver.Consumer):
    """Delivers fetched lists to the sink of their topic (`BatchApp.sinks`)."""

    app: "BatchApp"

    def _new_consumer_thread(self) -> CommittedThread:
        return CommittedThread(self, loop=self.loop, beacon=self.beacon)

    async def _drain_messages(self, fetcher: Any) -> None:
        try:
            while not (self._stopped.is_set() or fetcher._stopped.is_set()):
                records, active = await self._wait_next_records(MAX_POLL_S)
                generation = self.app.consumer_generation_id
                if self.should_stop or not records:
                    await asyncio.sleep(0)
                elif not self.flow_active:
                    await self._back_to_committed()
                else:
                    await self._deliver(records, active, generation)
                    await asyncio.sleep(0)
        except self.consumer_stopped_errors:
            if not self.app.should_stop:
                raise
        except asyncio.CancelledError:
            if not self.app.should_stop:
                raise

    async def _deliver(self, records: Mapping[Any, Sequence[IncomingRecord]], active: Any, generation: int) -> None:
        for tp, batch in records.items():
            if not self.flow_active or self.app.consumer_generation_id != generation:
                return
            if active is not None and tp not in active:
                continue
            self.app.idle.busy(True)
            try:
                await self.app.sinks[tp.topic](TP(tp.topic, tp.partition), batch, generation)
            except Exception:
                log.exception("%s/%d from offset %d", tp.topic, tp.partition, batch[0].offset)
                exit_process(CRASH_EXIT, "an unexpected exception")
            self.app.idle.busy(False)

    async def _back_to_committed(self) -> None:
        """Drop what was fetched just before a rebalance."""
        try:
            await self.perform_seek()
        except Exception as error:  # the next generation seeks again, and the stage checks every offset
            self.log.warning("seek while the flow was stopped: %r", error)


class BatchTransport(driver.Transport):
    """Faust's transport with `BatchConsumer`."""

    Consumer = BatchConsumer


class BatchApp(faust.App):
    """A Faust app whose topics have sinks."""

    #: topic -> sink; every subscribed topic needs one
    sinks: dict[str, RecordSink]
    #: called before the group is joined
    before_start: Callable[[], Awaitable[None]]
    idle: IdleClock

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.idle = IdleClock(time.monotonic)

    def _new_transport(self) -> Any:
        return BatchTransport(self.conf.broker_consumer, self)

    async def on_first_start(self) -> None:
        """See `faust.App`."""
        await super().on_first_start()
        await self.before_start()
