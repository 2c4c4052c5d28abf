"""How many records each stage is behind its topics, by the positions that its consumer group has committed."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from kafka import TopicPartition
from kafka.admin import OffsetSpec
from leeboard.pipelines.kafka.settings import KafkaSettings
from leeboard.pipelines.kafka.stage_topics import topics_of
from leeboard.pipelines.topics import STAGE_NAMES, StageName


@dataclass(frozen=True, slots=True)
class PartitionLag:
    """One partition. `committed`: None if the stage has never committed it.

    `alerts` is written in transactions: the marker of the last one remains as a lag of 1.
    """

    stage: StageName
    topic: str
    partition: int
    committed: int | None
    end: int
    lag: int


def partition_lags(admin: Any, settings: KafkaSettings) -> list[PartitionLag]:
    """All partitions of all stages. Raises kafka.errors.KafkaError."""
    found: list[PartitionLag] = []
    for stage in STAGE_NAMES:
        found += _of_stage(admin, settings, stage, topics_of(stage, settings.topics))
    return found


def stage_members(admin: Any, settings: KafkaSettings) -> dict[StageName, int]:
    """How many processes each stage has. Raises kafka.errors.KafkaError."""
    groups = {settings.group(stage): stage for stage in STAGE_NAMES}
    described = admin.describe_groups(list(groups))
    return {stage: len(described.get(group, {}).get("members") or ()) for group, stage in groups.items()}


def _of_stage(admin: Any, settings: KafkaSettings, stage: StageName, topics: Sequence[str]) -> list[PartitionLag]:
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
        position = committed.get(tp)
        at = position.offset if position is not None and position.offset >= 0 else None
        end = ends[tp].offset
        behind = max(end - (at if at is not None else firsts[tp].offset), 0)
        found.append(PartitionLag(stage, tp.topic, tp.partition, at, end, behind))
    return found
