"""Is leeboard alive? One thread reads the summaries and asks the broker, so that the page consumer need not."""

import logging
import threading
import time
from typing import Any

from kafka.errors import KafkaError
from leeboard.pipelines.kafka.operate.reading import partitions_of

log = logging.getLogger(__name__)
POLL_MS = 500
#: the broker is asked so often, and has so long to answer
PROBE_S, PROBE_MS = 2.0, 2000
#: a poll and a probe that are under way at the end
STOP_S = 3.0


class Pulse(threading.Thread):
    """Counts summaries from now on, and knows whether the broker answers; the client finds its way back by itself."""

    def __init__(self, consumer: Any, topic: str) -> None:
        """Raises TopicUnreadable, kafka.errors.KafkaError."""
        super().__init__(name="pulse", daemon=True)
        self._consumer = consumer
        self._partitions = partitions_of(consumer, topic)
        consumer.assign(self._partitions)
        for partition, end in consumer.end_offsets(self._partitions).items():
            consumer.seek(partition, end)
        self._ended = threading.Event()
        #: summaries seen
        self.summaries = 0
        #: the newest question to the broker was answered
        self.connected = True

    def stop(self) -> None:
        """End; waits for it while that is a matter of a poll, not of a broker that does not answer."""
        self._ended.set()
        self.join(STOP_S)

    def run(self) -> None:
        """Watch until stopped."""
        probe_at = time.monotonic() + PROBE_S
        while not self._ended.is_set():
            try:
                self.summaries += sum(len(records) for records in self._consumer.poll(POLL_MS).values())
                if time.monotonic() < probe_at:
                    continue
                self._consumer.end_offsets(self._partitions, timeout_ms=PROBE_MS)
                self.connected = True
            except KafkaError as error:
                if self.connected:
                    log.warning("no pulse: %s", error)
                self.connected = False
                self._ended.wait(POLL_MS / 1000)
            probe_at = time.monotonic() + PROBE_S
