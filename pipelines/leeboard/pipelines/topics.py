"""The stages, the topics that they read and write, and what their records carry. Importable with the base install.

A topic is a named log of records: on Kafka a topic, in a runtime without a broker whatever holds such a log.
"""

from collections.abc import Sequence
from typing import Annotated, Literal, TypeAlias, get_args

from msgspec import Meta, Struct, field

StageName: TypeAlias = Literal["normalise", "watch", "gate"]
STAGE_NAMES: tuple[StageName, ...] = get_args(StageName)

#: names and values of the headers of a record
RecordHeaders: TypeAlias = Sequence[tuple[str, bytes]]

#: what Kafka allows as the name of a topic or group
KafkaName = Annotated[str, Meta(pattern=r"^[A-Za-z0-9._-]{1,249}$")]


class TopicSettings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`[kafka.topics]`: names."""

    raw: Annotated[list[KafkaName], Meta(min_length=1)] = field(default_factory=lambda: ["leeboard.raw"])
    control: KafkaName = "leeboard.control"
    calls: KafkaName = "leeboard.calls"
    state: KafkaName = "leeboard.state"
    alerts: KafkaName = "leeboard.alerts"
    alert_state: KafkaName = "leeboard.alert-state"
    pages: KafkaName = "leeboard.pages"
    gate_state: KafkaName = "leeboard.gate-state"
    summaries: KafkaName = "leeboard.summaries"
    dead_letters: KafkaName = "leeboard.dead-letters"
