"""Is leeboard alive? One thread reads the summaries and asks the broker, so that the page consumer need not."""

import logging
import threading
import time
from typing import Any

from kafka.errors import KafkaError
from leeboard.pipelines.kafka.operate.reading import partitions_of
from leeboard.pipelines.notify.feed.events import Heartbeat

log = logging.getLogger(__name__)
SUMMARY_POLL_MS = 500
#: the broker is asked so often, and has so long to answer
BROKER_PROBE_S, BROKER_PROBE_MS = 2.0, 2000
#: a poll and a probe that are under way at the end
HEARTBEAT_STOP_S = 3.0


class HeartbeatReader(threading.Thread):
    """Counts summaries from now on, and knows whether the broker answers; the client reconnects by itself."""

    def __init__(self, consumer: Any, topic: str) -> None:
        """Raises TopicUnreadable, kafka.errors.KafkaError."""
        super().__init__(name="heartbeat", daemon=True)
        self._consumer = consumer
        self._partitions = partitions_of(consumer, topic)
        consumer.assign(self._partitions)
        for partition, end in consumer.end_offsets(self._partitions).items():
            consumer.seek(partition, end)
        self._ended = threading.Event()
        self.reading = Heartbeat(connected=True, summaries=0)

    def stop(self) -> None:
        """End; waits for it while that is a matter of a poll, not of a broker that does not answer."""
        self._ended.set()
        self.join(HEARTBEAT_STOP_S)

    def run(self) -> None:
        """Watch until stopped."""
        probe_at_s = time.monotonic() + BROKER_PROBE_S
        connected, summaries = True, 0
        while not self._ended.is_set():
            try:
                summaries += sum(len(records) for records in self._consumer.poll(SUMMARY_POLL_MS).values())
                self.reading = Heartbeat(connected, summaries)
                if time.monotonic() < probe_at_s:
                    continue
                self._consumer.end_offsets(self._partitions, timeout_ms=BROKER_PROBE_MS)
                connected = True
            except KafkaError as error:
                if connected:
                    log.warning("no heartbeat: %s", error)
                connected = False
                self._ended.wait(SUMMARY_POLL_MS / 1000)
            self.reading = Heartbeat(connected, summaries)
            probe_at_s = time.monotonic() + BROKER_PROBE_S
