"""Stage *normalise*: any raw record to a measured call, keyed by its scope, or to a dead letter. No state.

Every record on `calls` says where it came from (`fold.SOURCE`). Records of one source partition reach every partition
of `calls` in the order of their offsets, and a position is committed only when all before it have arrived: so *watch*
can tell what it has seen before, whatever was sent twice.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache

from aiokafka.partitioner import murmur2
from longshore.schemas import (
    PRIVILEGED,
    Control,
    ModelCall,
    Observation,
    Refused,
    Score,
    decode,
    encode,
    encode_observation,
    reject,
    scope_key,
)
from msgspec.structs import replace

from ..config import Config
from ..measure import Measurer
from .fold import SOURCE, Incoming, Send
from .settings import TopicSettings

#: scope keys whose partition is remembered: 100,000 x about 150 bytes = 15 MB
PARTITIONS_KEPT = 100_000
#: every scope of an app
EVERY = "*"


class Normaliser:
    """Records of raw topics and of the control topic to records of `calls`. Pure: the same records, the same sends.

    `topic_ids`: id of every source topic (a topic that was made anew has another one). `calls_partitions`: of `calls`.
    """

    def __init__(self, config: Config, topic_ids: Mapping[str, str], calls_partitions: int) -> None:
        self.newest_time_ms = 0
        self._topics: TopicSettings = config.kafka.topics
        self._topic_ids = topic_ids
        self._calls_partitions = calls_partitions
        self._measurer = Measurer(config.measure())
        self._tenant_in_scope = config.scope.tenant
        self._payload = config.dead_letters.payload
        self._partition = lru_cache(PARTITIONS_KEPT)(self._partition_of)

    def sends(self, topic: str, partition: int, record: Incoming) -> list[Send]:
        """What one record becomes. Never raises on what it holds."""
        data = record.value or b""
        try:
            return self._normal(topic, partition, record, data)
        except Refused as refused:
            position = f"{topic}/{partition}/{record.offset}"
            letter = reject(data, refused, position, payload=self._payload)
            return [Send(self._topics.dead_letters, position.encode(), encode(letter))]

    def _normal(self, topic: str, partition: int, record: Incoming, data: bytes) -> list[Send]:
        if not data:
            raise Refused("not_json", "an empty record")
        if data[0] == 0 and len(data) >= 5:
            raise Refused("not_json", "Confluent wire format (a zero byte, a schema id): send plain JSON")
        arrival_ms = record.timestamp if record.timestamp and record.timestamp > 0 else None
        found = decode(data, arrival_ms=arrival_ms)
        source = (self._topic_ids[topic], partition, record.offset, 0)
        headers = ((SOURCE, "/".join(map(str, source)).encode()),)
        if isinstance(found, ModelCall):
            if topic == self._topics.control:
                raise Refused("not_allowed", "a model call is not taken from the control topic")
            observation = replace(self._measurer.measure(found), received=arrival_ms, source=source)
            return [self._call(observation, headers)]
        if isinstance(found, PRIVILEGED) and topic != self._topics.control:
            raise Refused("not_allowed", f"`{type(found).__name__.lower()}` is taken from {self._topics.control} only")
        return self._control(found, headers)

    def _call(self, observation: Observation, headers: Sequence[tuple[str, bytes]]) -> Send:
        self.newest_time_ms = max(self.newest_time_ms, observation.time)
        key = observation.scope.encode()
        return Send(self._topics.calls, key, encode_observation(observation), self._partition(key), headers)

    def _control(self, control: Control, headers: Sequence[tuple[str, bytes]]) -> list[Send]:
        """A control goes where its scope is; one for many scopes to every partition."""
        tenant = control.tenant if self._tenant_in_scope else None
        key = scope_key(tenant, control.app, control.env, control.route).encode()
        if isinstance(control, Score):
            if EVERY in (control.route, tenant):
                raise Refused("no_scope", "a score is about one call: its `route` and `tenant` cannot be `*`")
        elif EVERY in (control.route, tenant):
            partitions = range(self._calls_partitions)
            return [Send(self._topics.calls, key, encode(control), partition, headers) for partition in partitions]
        return [Send(self._topics.calls, key, encode(control), self._partition(key), headers)]

    def _partition_of(self, key: bytes) -> int:
        """Kafka's default partitioner."""
        return int((murmur2(key) & 0x7FFFFFFF) % self._calls_partitions)
