"""Measured calls of a topic for a backtest, partition by partition, without what *watch* leaves out as repeated."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from kafka import KafkaConsumer, TopicPartition
from longshore.schemas import Refused, Reject, reject

from ..watch.engine import Record
from .clients import python_client
from .incoming import Marks, measured
from .settings import KafkaSettings

#: records read at once
READ_RECORDS = 5000
#: a broker that gives nothing for so long, although there is something, is gone
SILENT_MS = 30_000


class TopicUnreadable(Exception):
    """The topic is missing, or stopped answering."""


@dataclass(frozen=True, slots=True)
class Bound:
    """Where to begin or end: a time (epoch ms), an offset for every partition, or offsets by partition."""

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
    """Reads a range of `calls`. Raises kafka.errors.KafkaError and TopicUnreadable."""

    def __init__(self, settings: KafkaSettings, since: Bound | None, until: Bound | None) -> None:
        self._topic = settings.topics.calls
        self._consumer = KafkaConsumer(
            **python_client(settings), enable_auto_commit=False, auto_offset_reset="none", max_poll_records=READ_RECORDS
        )
        partitions = self._consumer.partitions_for_topic(self._topic)
        if not partitions:
            raise TopicUnreadable(f"topic {self._topic} does not exist, or may not be read")
        self.spans = self._resolve(sorted(partitions), since, until)

    @property
    def total(self) -> int:
        """Records in all spans."""
        return sum(span.end - span.first for span in self.spans)

    def read(self, span: Span, progress: Callable[[int], None]) -> Iterator[Record | Reject]:
        """The records of a span in order, repeated ones left out; `progress` is told how many were read."""
        tp = TopicPartition(self._topic, span.partition)
        self._consumer.assign([tp])
        self._consumer.seek(tp, span.first)
        marks = Marks()
        while self._consumer.position(tp) < span.end:
            batch = self._consumer.poll(SILENT_MS).get(tp, [])
            if not batch:
                raise TopicUnreadable(f"{self._topic}/{span.partition}: nothing came for {SILENT_MS // 1000} s")
            progress(len(batch))
            for record in batch:
                if record.offset < span.end and not marks.repeats(record):
                    yield self._read(span.partition, record)

    def close(self) -> None:
        """Disconnect."""
        self._consumer.close()

    def _read(self, partition: int, record: Any) -> Record | Reject:
        try:
            return measured(record)
        except Refused as refused:
            return reject(record.value or b"", refused, f"{self._topic}/{partition}/{record.offset}")

    def _resolve(self, partitions: list[int], since: Bound | None, until: Bound | None) -> list[Span]:
        tps = [TopicPartition(self._topic, partition) for partition in partitions]
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
