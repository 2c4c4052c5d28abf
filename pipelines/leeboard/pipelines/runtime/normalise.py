"""Stage *normalise*: every raw record to measured calls, keyed by their scopes, or to dead letters. No state.

Every record on `calls` holds its source position (`fold.SOURCE_HEADER`). Records of one source partition reach every
partition of `calls` in the order of their offsets, and a position is committed only when all before it have arrived. So
*watch* can recognise repeats, whatever was sent twice.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache

from leeboard.pipelines.ingest import position_of, records_in
from leeboard.pipelines.measure.measurer import Arrival, Measurer
from leeboard.pipelines.measure.settings import MeasureSettings
from leeboard.pipelines.topics import TopicSettings
from leeboard.schemas import (
    PRIVILEGED,
    Control,
    ModelCall,
    Observation,
    Record,
    Refused,
    Score,
    encode,
    encode_observation,
    reject,
    scope_key,
)

from .fold import SOURCE_HEADER, IncomingRecord, OutgoingRecord

#: scope keys whose partition is remembered: 100,000 x about 150 bytes = 15 MB
MAX_REMEMBERED_KEYS = 100_000
#: every scope of an app
EVERY_SCOPE = "*"


def arrival_ms_of(record: IncomingRecord) -> int | None:
    """When a record first reached the log, epoch milliseconds; None if the broker does not say."""
    return record.timestamp if record.timestamp and record.timestamp > 0 else None


class Normaliser:
    """Records of raw topics and of the control topic to records of `calls`. Not safe for two threads at once.

    The same records give the same outputs as long as the embedder answers. Making one loads it, and raises
    EmbedderError. `topic_ids`: id of every source topic (a topic that was deleted and created again has another one).
    `calls_partitions`: the number of partitions of `calls`; `partition_of` chooses one by a key and that number.
    `keep_payload`: dead letters hold the bytes of the record.
    """

    def __init__(
        self,
        settings: MeasureSettings,
        topics: TopicSettings,
        topic_ids: Mapping[str, str],
        calls_partitions: int,
        partition_of: Callable[[bytes, int], int],
        *,
        keep_payload: bool = False,
    ) -> None:
        self.newest_time_ms = 0
        self._topics = topics
        self._topic_ids = topic_ids
        self._calls_partitions = calls_partitions
        self._measurer = Measurer(settings)
        self._tenant_in_scope = settings.tenant_in_scope
        self._keep_payload = keep_payload
        self._partition = lru_cache(MAX_REMEMBERED_KEYS)(lambda key: partition_of(key, calls_partitions))
        # kernels are compiled before the group is joined
        self._measurer.measure(ModelCall(id="warm", time=0, app="warm", input_text="Warm?", output_text="**Yes**, 1."))

    @property
    def counts(self) -> dict[str, int]:
        """What of the texts could not be measured so far: see `measure.COUNTED`."""
        return self._measurer.counts

    def outputs(self, topic: str, partition: int, records: Sequence[IncomingRecord]) -> list[list[OutgoingRecord]]:
        """What each of some records of a partition becomes. Never raises on what they hold."""
        decoded = [self._decoded(topic, partition, record) for record in records]
        calls = [one for parts in decoded for one in parts if isinstance(one, Arrival)]
        measured = iter(self._measurer.measure_batch(calls))
        return [
            [out for one in parts for out in (self._call(next(measured)) if isinstance(one, Arrival) else one)]
            for parts in decoded
        ]

    def _decoded(self, topic: str, partition: int, record: IncomingRecord) -> list[Arrival | list[OutgoingRecord]]:
        """Of everything in a record, in its order: a call to be measured, or what anything else becomes."""
        data = record.value or b""
        arrival_ms = arrival_ms_of(record)
        found = records_in(data, record.headers, arrival_ms=arrival_ms)
        decoded: list[Arrival | list[OutgoingRecord]] = []
        for index, one in enumerate(found):
            source = (self._topic_ids[topic], partition, record.offset, index)
            try:
                taken = self._taken(topic, one)
                decoded.append(
                    Arrival(taken, arrival_ms, source) if isinstance(taken, ModelCall) else self._control(taken, source)
                )
            except Refused as refused:
                position = position_of(f"{topic}/{partition}/{record.offset}", index, len(found))
                rejected = reject(data, refused, position, payload=self._keep_payload)
                decoded.append([OutgoingRecord(self._topics.dead_letters, position.encode(), encode(rejected))])
        return decoded

    def _taken(self, topic: str, found: Record | Refused) -> Record:
        """The record, if it is one that may come from this topic. Raises Refused."""
        if isinstance(found, Refused):
            raise found
        if isinstance(found, ModelCall) and topic == self._topics.control:
            raise Refused("not_allowed", "a model call is not taken from the control topic")
        if isinstance(found, PRIVILEGED) and topic != self._topics.control:
            raise Refused("not_allowed", f"`{type(found).__name__.lower()}` is taken from {self._topics.control} only")
        return found

    def _call(self, observation: Observation) -> list[OutgoingRecord]:
        self.newest_time_ms = max(self.newest_time_ms, observation.time)
        key = observation.scope.encode()
        assert observation.source is not None
        headers = _headers(observation.source)
        data = encode_observation(observation)
        return [OutgoingRecord(self._topics.calls, key, data, self._partition(key), headers)]

    def _control(self, control: Control, source: tuple[str, int, int, int]) -> list[OutgoingRecord]:
        """A control goes to the partition of its scope; one for many scopes to every partition. Raises Refused."""
        headers, data = _headers(source), encode(control)
        tenant = control.tenant if self._tenant_in_scope else None
        key = scope_key(tenant, control.app, control.env, control.route).encode()
        if isinstance(control, Score):
            if EVERY_SCOPE in (control.route, tenant):
                raise Refused("no_scope", "a score is about one call: its `route` and `tenant` cannot be `*`")
        elif EVERY_SCOPE in (control.route, tenant):
            partitions = range(self._calls_partitions)
            return [OutgoingRecord(self._topics.calls, key, data, partition, headers) for partition in partitions]
        return [OutgoingRecord(self._topics.calls, key, data, self._partition(key), headers)]


def _headers(source: tuple[str, int, int, int]) -> tuple[tuple[str, bytes], ...]:
    return ((SOURCE_HEADER, "/".join(map(str, source)).encode()),)
