"""The stages, and the names of the topics that they read and write. Importable with the base install.

A topic is a named log of records: on Kafka a topic, in a runtime without a broker whatever holds such a log.
"""

from typing import Annotated, Literal, TypeAlias, get_args

from msgspec import Meta, Struct, field

StageName: TypeAlias = Literal["normalise", "watch", "gate"]
STAGE_NAMES: tuple[StageName, ...] = get_args(StageName)

TopicName = Annotated[str, Meta(pattern=r"^[A-Za-z0-9._-]{1,249}$")]


class TopicSettings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`[kafka.topics]`: names."""

    raw: Annotated[list[TopicName], Meta(min_length=1)] = field(default_factory=lambda: ["leeboard.raw"])
    control: TopicName = "leeboard.control"
    calls: TopicName = "leeboard.calls"
    state: TopicName = "leeboard.state"
    alerts: TopicName = "leeboard.alerts"
    alert_state: TopicName = "leeboard.alert-state"
    pages: TopicName = "leeboard.pages"
    gate_state: TopicName = "leeboard.gate-state"
    summaries: TopicName = "leeboard.summaries"
    dead_letters: TopicName = "leeboard.dead-letters"
