"""Stage *normalise*: any raw record to a measured call, keyed by its scope, or to a dead letter. No state.

Every record on `calls` says where it came from (`fold.SOURCE`). Records of one source partition reach every partition
of `calls` in the order of their offsets, and a position is committed only when all before it have arrived: so *watch*
can tell what it has seen before, whatever was sent twice.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache

from aiokafka.partitioner import murmur2
from leeboard.pipelines.config import Config
from leeboard.pipelines.kafka.settings import TopicSettings
from leeboard.pipelines.measure.measurer import Arrival, Measurer
from leeboard.schemas import (
    PRIVILEGED,
    Control,
    ModelCall,
    Observation,
    Record,
    Refused,
    Score,
    decode,
    encode,
    encode_observation,
    reject,
    scope_key,
)

from .fold import SOURCE, Incoming, Send

#: scope keys whose partition is remembered: 100,000 x about 150 bytes = 15 MB
PARTITIONS_KEPT = 100_000
#: every scope of an app
EVERY = "*"


def arrival_ms_of(record: Incoming) -> int | None:
    """When a record first reached Kafka, epoch milliseconds; None where the broker does not say."""
    return record.timestamp if record.timestamp and record.timestamp > 0 else None


class Normaliser:
    """Records of raw topics and of the control topic to records of `calls`: not for two threads at once.

    The same records give the same sends as long as the embedder answers. Making one loads it, and raises EmbedderError.
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
        # kernels are compiled before the group is joined
        self._measurer.measure(ModelCall(id="warm", time=0, app="warm", input_text="Warm?", output_text="**Yes**, 1."))

    @property
    def counts(self) -> dict[str, int]:
        """What of the texts could not be measured so far: see `measure.COUNTED`."""
        return self._measurer.counts

    def sends(self, topic: str, partition: int, records: Sequence[Incoming]) -> list[list[Send]]:
        """What each of some records of a partition becomes. Never raises on what they hold."""
        decoded = [self._decoded(topic, partition, record) for record in records]
        calls = (call for call in decoded if isinstance(call, Arrival))
        measured = iter(self._measurer.measure_batch(list(calls)))
        return [self._call(next(measured)) if isinstance(found, Arrival) else found for found in decoded]

    def _decoded(self, topic: str, partition: int, record: Incoming) -> Arrival | list[Send]:
        """A call that is to be measured, or what becomes of anything else."""
        data = record.value or b""
        arrival_ms = arrival_ms_of(record)
        source = (self._topic_ids[topic], partition, record.offset, 0)
        try:
            found = self._record(topic, data, arrival_ms)
            return Arrival(found, arrival_ms, source) if isinstance(found, ModelCall) else self._control(found, source)
        except Refused as refused:
            position = f"{topic}/{partition}/{record.offset}"
            letter = reject(data, refused, position, payload=self._payload)
            return [Send(self._topics.dead_letters, position.encode(), encode(letter))]

    def _record(self, topic: str, data: bytes, arrival_ms: int | None) -> Record:
        """The record, where it may come from this topic. Raises Refused."""
        if not data:
            raise Refused("not_json", "an empty record")
        if data[0] == 0 and len(data) >= 5:
            raise Refused("not_json", "Confluent wire format (a zero byte, a schema id): send plain JSON")
        found = decode(data, arrival_ms=arrival_ms)
        if isinstance(found, ModelCall) and topic == self._topics.control:
            raise Refused("not_allowed", "a model call is not taken from the control topic")
        if isinstance(found, PRIVILEGED) and topic != self._topics.control:
            raise Refused("not_allowed", f"`{type(found).__name__.lower()}` is taken from {self._topics.control} only")
        return found

    def _call(self, observation: Observation) -> list[Send]:
        self.newest_time_ms = max(self.newest_time_ms, observation.time)
        key = observation.scope.encode()
        assert observation.source is not None
        headers = _headers(observation.source)
        return [Send(self._topics.calls, key, encode_observation(observation), self._partition(key), headers)]

    def _control(self, control: Control, source: tuple[str, int, int, int]) -> list[Send]:
        """A control goes where its scope is; one for many scopes to every partition. Raises Refused."""
        headers = _headers(source)
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


def _headers(source: tuple[str, int, int, int]) -> tuple[tuple[str, bytes], ...]:
    return ((SOURCE, "/".join(map(str, source)).encode()),)
