"""Is longshore alive? One thread reads the summaries and asks the broker, so that the page consumer need not."""

import logging
import threading
import time
from typing import Any

from kafka.errors import KafkaError

from ..kafka.settings import KafkaSettings
from .brokers import ASK_MS, BrokerProblem, open_consumer, partitions_of

log = logging.getLogger(__name__)
#: the broker is asked so often, and has so long to answer
PROBE_S, PROBE_MS = 2.0, 2000
#: a poll and the closing of the client
STOP_S = 3.0
#: before a client that failed is made anew
AGAIN_S = 1.0


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
        """End; waits for it while that is a matter of a poll, not of a broker that does not answer."""
        self._ended.set()
        self.join(STOP_S)

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
                    self.connected = _answers(consumer, partitions)
                    probe_at = time.monotonic() + PROBE_S
        finally:
            consumer.close(autocommit=False, timeout_ms=1000)


def _answers(consumer: Any, partitions: list[Any]) -> bool:
    """Does the broker answer? The client finds its way back by itself when it does again."""
    try:
        consumer.end_offsets(partitions, timeout_ms=PROBE_MS)
    except KafkaError:
        return False
    return True
