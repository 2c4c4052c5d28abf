"""How far each stage is behind its topics, from what its consumer group has committed."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, get_args

from kafka import TopicPartition
from kafka.admin import OffsetSpec
from leeboard.pipelines.kafka.settings import KafkaSettings, Stage
from leeboard.pipelines.kafka.stage_topics import topics_of


@dataclass(frozen=True, slots=True)
class Lag:
    """One partition: `committed` is None where the stage has never committed it.

    `alerts` is written in transactions: the marker of the last one stays as a lag of 1 there.
    """

    stage: Stage
    topic: str
    partition: int
    committed: int | None
    end: int
    lag: int


def lags(admin: Any, settings: KafkaSettings) -> list[Lag]:
    """All partitions of all stages. Raises kafka.errors.KafkaError."""
    found: list[Lag] = []
    for stage in get_args(Stage):
        found += _of_stage(admin, settings, stage, topics_of(stage, settings.topics))
    return found


def members(admin: Any, settings: KafkaSettings) -> dict[Stage, int]:
    """How many processes each stage has. Raises kafka.errors.KafkaError."""
    groups = {settings.group(stage): stage for stage in get_args(Stage)}
    described = admin.describe_groups(list(groups))
    return {stage: len(described.get(group, {}).get("members") or ()) for group, stage in groups.items()}


def _of_stage(admin: Any, settings: KafkaSettings, stage: Stage, topics: Sequence[str]) -> list[Lag]:
    partitions = [
        TopicPartition(topic["name"], part["partition_index"])
        for topic in admin.describe_topics(list(topics))
        if topic["error_code"] == 0
        for part in topic["partitions"]
    ]
    if not partitions:
        return []
    group = settings.group(stage)
    committed = admin.list_group_offsets({group: partitions}).get(group, {})
    firsts = admin.list_partition_offsets(dict.fromkeys(partitions, OffsetSpec.EARLIEST))
    ends = admin.list_partition_offsets(dict.fromkeys(partitions, OffsetSpec.LATEST))
    found = []
    for tp in sorted(partitions):
        known = committed.get(tp)
        at = known.offset if known is not None and known.offset >= 0 else None
        end = ends[tp].offset
        behind = max(end - (at if at is not None else firsts[tp].offset), 0)
        found.append(Lag(stage, tp.topic, tp.partition, at, end, behind))
    return found
