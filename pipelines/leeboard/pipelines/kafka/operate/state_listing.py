"""Lists what the state topics hold (markers of every partition, scopes with their sizes), and deletes it."""

from dataclasses import dataclass, field
from typing import Any

import msgspec
from kafka import KafkaProducer
from leeboard.pipelines.kafka.clients import OPERATOR_SEND_S, python_client
from leeboard.pipelines.kafka.settings import KafkaSettings
from leeboard.pipelines.runtime.envelope import BASE_KEY, DONE_KEY, PART_SEPARATOR, BaseMarker, DoneMarker

from .reading import read_topic


@dataclass(slots=True)
class StoredScope:
    """One scope: bytes and number of its parts."""

    scope: str
    bytes: int = 0
    parts: int = 0


@dataclass(slots=True)
class StoredPartition:
    """One partition of `calls`: outputs of records before `done` are published, a restore reads from `base`."""

    partition: int
    done: int | None = None
    base: int | None = None
    scopes: dict[str, StoredScope] = field(default_factory=dict)

    @property
    def bytes(self) -> int:
        """Bytes of state of all its scopes."""
        return sum(scope.bytes for scope in self.scopes.values())


def stored_state(consumer: Any, settings: KafkaSettings) -> list[StoredPartition]:
    """Everything that a restore would load. Raises reading.TopicUnreadable, kafka.errors.KafkaError."""
    newest: dict[tuple[int, bytes], bytes] = {}
    for record in read_topic(consumer, settings.topics.state):
        newest.pop((record.partition, record.key), None)
        if record.value is not None:
            newest[record.partition, record.key] = record.value
    found: dict[int, StoredPartition] = {}
    for (partition, key), value in newest.items():
        known = found.setdefault(partition, StoredPartition(partition))
        if key == DONE_KEY:
            known.done = msgspec.msgpack.decode(value, type=DoneMarker).next
        elif key == BASE_KEY:
            known.base = msgspec.msgpack.decode(value, type=BaseMarker).next
        else:
            name = key.decode(errors="replace").rpartition(PART_SEPARATOR)[0]
            scope = known.scopes.setdefault(name, StoredScope(name))
            scope.bytes += len(value)
            scope.parts += 1
    return [found[partition] for partition in sorted(found)]


def drop_state(consumer: Any, settings: KafkaSettings, topic: str) -> int:
    """Delete every key of a state topic; the number of keys. No worker of its stage may run. Raises KafkaError."""
    keys: dict[tuple[int, bytes], bool] = {}
    for record in read_topic(consumer, topic):
        keys[record.partition, record.key] = record.value is not None
    present = [key for key, exists in keys.items() if exists]
    producer = KafkaProducer(**python_client(settings), acks="all")
    try:
        waiting = [producer.send(topic, None, key, partition=partition) for partition, key in present]
        for future in waiting:
            future.get(OPERATOR_SEND_S)
    finally:
        producer.close()
    return len(present)
