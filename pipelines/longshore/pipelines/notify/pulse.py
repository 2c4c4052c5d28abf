"""Is longshore alive? One thread reads the summaries and asks the broker, so that the page consumer need not."""

import logging
import threading
import time

from kafka.errors import KafkaError

from ..kafka.settings import KafkaSettings
from .brokers import ASK_MS, BrokerProblem, open_consumer, partitions_of

log = logging.getLogger(__name__)
#: the broker is asked so often
PROBE_S = 5.0
#: before a client that failed is made anew
AGAIN_S = 5.0


class Pulse(threading.Thread):
    """Counts summaries from now on, and knows whether the broker answers."""

    def __init__(self, settings: KafkaSettings) -> None:
        super().__init__(name="pulse", daemon=True)
        self._settings = settings
        self._ended = threading.Event()
        #: summaries seen
        self.summaries = 0
        #: the newest question to the broker was answered
        self.connected = True

    def stop(self) -> None:
        """End within a second, or with the question that is being asked."""
        self._ended.set()

    def run(self) -> None:
        """Watch until stopped; clients that fail are replaced."""
        while not self._ended.is_set():
            try:
                self._watch()
            except (BrokerProblem, KafkaError) as error:
                self.connected = False
                log.warning("no pulse: %s", error)
                self._ended.wait(AGAIN_S)

    def _watch(self) -> None:
        topic = self._settings.topics.summaries
        consumer = open_consumer(self._settings)
        try:
            partitions = partitions_of(consumer, [topic])[topic]
            consumer.assign(partitions)
            for partition, end in consumer.end_offsets(partitions, timeout_ms=ASK_MS).items():
                consumer.seek(partition, end)
            self.connected = True
            probe_at = time.monotonic() + PROBE_S
            while not self._ended.is_set():
                self.summaries += sum(len(records) for records in consumer.poll(timeout_ms=500).values())
                if time.monotonic() >= probe_at:
                    consumer.end_offsets(partitions, timeout_ms=ASK_MS)
                    self.connected = True
                    probe_at = time.monotonic() + PROBE_S
        finally:
            consumer.close(autocommit=False, timeout_ms=1000)
