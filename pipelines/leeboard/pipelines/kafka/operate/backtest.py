"""Measured calls of a topic for a backtest, partition by partition, without the repeats that *watch* leaves out."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from kafka import TopicPartition
from leeboard.pipelines.kafka.settings import KafkaSettings
from leeboard.pipelines.runtime.incoming import Watermarks, decode_measured
from leeboard.pipelines.watch.engine import Record
from leeboard.schemas import Refused, Reject, reject

from .reading import partitions_of, read_span


@dataclass(frozen=True, slots=True)
class Bound:
    """Where a backtest begins or ends: a time (epoch ms), an offset for every partition, or offsets by partition."""

    time_ms: int | None = None
    offset: int | None = None
    offsets: dict[int, int] | None = None


@dataclass(frozen=True, slots=True)
class Span:
    """Offsets of one partition: from `first` up to and without `end`."""

    partition: int
    first: int
    end: int


class CallsReader:
    """A range of `calls`. Raises kafka.errors.KafkaError and reading.TopicUnreadable."""

    def __init__(self, settings: KafkaSettings, consumer: Any, since: Bound | None, until: Bound | None) -> None:
        self._topic = settings.topics.calls
        self._consumer = consumer
        self.spans = self._resolve(partitions_of(consumer, self._topic), since, until)

    @property
    def total(self) -> int:
        """Records in all spans."""
        return sum(span.end - span.first for span in self.spans)

    def read(self, span: Span, progress: Callable[[int], None]) -> Iterator[Record | Reject]:
        """The records of a span in order, without repeats; `progress` is called with the number of records read."""
        tp = TopicPartition(self._topic, span.partition)
        watermarks = Watermarks()
        for record in read_span(self._consumer, tp, span.first, span.end):
            progress(1)
            if not watermarks.repeats(record):
                yield self._read(span.partition, record)

    def _read(self, partition: int, record: Any) -> Record | Reject:
        try:
            return decode_measured(record)
        except Refused as refused:
            return reject(record.value or b"", refused, f"{self._topic}/{partition}/{record.offset}")

    def _resolve(self, tps: list[Any], since: Bound | None, until: Bound | None) -> list[Span]:
        begins, ends = self._consumer.beginning_offsets(tps), self._consumer.end_offsets(tps)
        firsts, lasts = self._offsets(tps, since, begins), self._offsets(tps, until, ends)
        spans = []
        for tp in tps:
            first = min(max(firsts[tp], begins[tp]), ends[tp])
            spans.append(Span(tp.partition, first, max(first, min(lasts[tp], ends[tp]))))
        return [span for span in spans if span.end > span.first]

    def _offsets(self, tps: list[Any], bound: Bound | None, default: dict[Any, int]) -> dict[Any, int]:
        if bound is None:
            return default
        if bound.time_ms is not None:
            found = self._consumer.offsets_for_times(dict.fromkeys(tps, bound.time_ms))
            ends = self._consumer.end_offsets(tps)
            return {tp: found[tp].offset if found.get(tp) is not None else ends[tp] for tp in tps}
        if bound.offsets is not None:
            return {tp: bound.offsets.get(tp.partition, default[tp]) for tp in tps}
        return {tp: bound.offset if bound.offset is not None else default[tp] for tp in tps}
