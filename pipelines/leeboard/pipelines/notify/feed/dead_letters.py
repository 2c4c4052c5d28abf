"""Dead letters of notify: what no sink took, and what is no page or alert."""

import logging
from collections import deque
from collections.abc import Callable

from kafka import KafkaProducer
from kafka.errors import KafkaError
from leeboard.schemas import Reject, encode
from msgspec import Struct

log = logging.getLogger(__name__)
#: a letter that is not acknowledged by then is written again
ACKNOWLEDGED_S = 10.0


class Letter(Struct, eq=False):
    """A dead letter, and what to do once it is written."""

    reject: Reject
    written: Callable[[], None]


class Letters:
    """Writes dead letters in order; one that cannot be written stays and is tried again."""

    def __init__(self, producer: KafkaProducer, topic: str) -> None:
        self._producer = producer
        self._topic = topic
        #: bounded by the queues: a letter settles a message, and no message is taken beyond what the queues hold
        self._waiting: deque[Letter] = deque()

    def add(self, letter: Letter) -> None:
        """Behind the others."""
        self._waiting.append(letter)

    def clear(self) -> None:
        """Forget those that are not written: their messages will be taken again."""
        self._waiting.clear()

    def write(self) -> None:
        """Write what waits; ends at the first failure."""
        while self._waiting:
            letter = self._waiting[0]
            position = letter.reject.position
            try:
                self._producer.send(self._topic, encode(letter.reject), position.encode()).get(ACKNOWLEDGED_S)
            except KafkaError as error:
                log.warning("dead letter for %s not written: %s", position, error)
                return
            self._waiting.popleft()
            letter.written()
