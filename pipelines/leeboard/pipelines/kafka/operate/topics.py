"""The topics as they must be: created by `leeboard topics apply`, checked before every start."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from kafka.admin import ConfigResource, ConfigResourceType
from leeboard.pipelines.kafka.settings import KafkaSettings
from leeboard.pipelines.units import DAY_MS

#: partitions of topics that hold little: a few, so that more than one reader can share them
FEW_PARTITIONS = 3
#: people look at controls, alerts and pages days later
RETENTION_DAYS = {"control": 30, "alerts": 90, "pages": 90, "summaries": 14, "dead_letters": 14}
#: compacted topics: small segments that are cleaned soon, or a restore would read hours of old state
COMPACTED_CONFIG = {
    "cleanup.policy": "compact",
    "segment.bytes": str(64 << 20),
    "min.cleanable.dirty.ratio": "0.1",
    "max.compaction.lag.ms": "300000",
}


@dataclass(frozen=True, slots=True)
class TopicPlan:
    """One topic: `partitions` to create it with; if `exact`, it must have that many."""

    name: str
    partitions: int
    exact: bool
    config: Mapping[str, str] = field(default_factory=dict)

    @property
    def cleanup(self) -> str:
        """Its cleanup policy."""
        return self.config["cleanup.policy"]


def topic_plans(settings: KafkaSettings) -> list[TopicPlan]:
    """All topics of a fleet."""
    topics = settings.topics

    def kept(days: float) -> dict[str, str]:
        return {"cleanup.policy": "delete", "retention.ms": str(round(days * DAY_MS))}

    return [
        *(TopicPlan(name, settings.partitions, False, {"cleanup.policy": "delete"}) for name in topics.raw),
        TopicPlan(topics.control, FEW_PARTITIONS, False, kept(RETENTION_DAYS["control"])),
        TopicPlan(topics.calls, settings.partitions, True, kept(settings.calls_retention_days)),
        TopicPlan(topics.state, settings.partitions, True, COMPACTED_CONFIG),
        TopicPlan(topics.alerts, 1, True, kept(RETENTION_DAYS["alerts"])),
        TopicPlan(topics.alert_state, 1, True, COMPACTED_CONFIG),
        TopicPlan(topics.pages, 1, True, kept(RETENTION_DAYS["pages"])),
        TopicPlan(topics.gate_state, 1, True, COMPACTED_CONFIG),
        TopicPlan(topics.summaries, FEW_PARTITIONS, False, kept(RETENTION_DAYS["summaries"])),
        TopicPlan(topics.dead_letters, FEW_PARTITIONS, False, kept(RETENTION_DAYS["dead_letters"])),
    ]


#: Kafka's error code for a topic that this login may not describe, whether it exists or not
TOPIC_FORBIDDEN = 29


@dataclass(frozen=True, slots=True)
class ExistingTopic:
    """A topic as the cluster has it; `operations`: what this login may do with it, as Kafka names it."""

    id: str
    partitions: int
    operations: frozenset[str]


@dataclass(frozen=True, slots=True)
class AppliedTopic:
    """What `apply_topics` did with a topic."""

    name: str
    done: str


def describe_topics(admin: Any, names: Sequence[str]) -> dict[str, ExistingTopic]:
    """Those of the topics that exist and that this login may describe."""
    return _describe(admin, names)[0]


def _describe(admin: Any, names: Sequence[str]) -> tuple[dict[str, ExistingTopic], set[str]]:
    """The topics that exist and that this login may describe, and the names of those that it may not."""
    found, hidden = {}, set()
    for topic in admin.describe_topics(list(names)):
        if topic["error_code"] == 0:
            operations = frozenset(topic.get("authorized_operations") or ())
            found[topic["name"]] = ExistingTopic(str(topic["topic_id"]), len(topic["partitions"]), operations)
        elif topic["error_code"] == TOPIC_FORBIDDEN:
            hidden.add(topic["name"])
    return found, hidden


def topic_configs(admin: Any, names: Sequence[str]) -> dict[str, dict[str, str]]:
    """All configuration of some topics. Raises kafka.errors.KafkaError."""
    if not names:
        return {}
    resources = [ConfigResource(ConfigResourceType.TOPIC, name) for name in names]
    found = admin.describe_configs(resources, config_filter="all")
    return {
        name: {key: str(entry["value"]) for key, entry in entries.items()}
        for name, entries in found.get("topic", {}).items()
    }


def apply_topics(admin: Any, settings: KafkaSettings) -> list[AppliedTopic]:
    """Create missing topics and correct their configuration; partitions and data are never touched."""
    wanted = topic_plans(settings)
    names = [plan.name for plan in wanted]
    present = describe_topics(admin, names)
    known = topic_configs(admin, [name for name in names if name in present])
    done = []
    for plan in wanted:
        if plan.name not in present:
            options = {
                "num_partitions": plan.partitions,
                "replication_factor": settings.replication_factor,
                "configs": dict(plan.config),
            }
            admin.create_topics({plan.name: options})
            done.append(AppliedTopic(plan.name, f"created with {plan.partitions} partitions"))
            continue
        differs = {key: value for key, value in plan.config.items() if known[plan.name].get(key) != value}
        if differs:
            admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, plan.name, configs=differs)])
            done.append(AppliedTopic(plan.name, "set " + ", ".join(f"{key}={value}" for key, value in differs.items())))
        else:
            done.append(AppliedTopic(plan.name, "left as it is"))
    return done


def problems(admin: Any, settings: KafkaSettings, rights: Mapping[str, Sequence[str]] | None = None) -> list[str]:
    """What is wrong with the topics, each with its remedy. `rights`: the operations needed, by topic."""
    wanted = [plan for plan in topic_plans(settings) if rights is None or plan.name in rights]
    present, hidden = _describe(admin, [plan.name for plan in wanted])
    known = topic_configs(admin, [name for name, found in present.items() if "DESCRIBE_CONFIGS" in found.operations])
    found = []
    for plan in wanted:
        topic = present.get(plan.name)
        if plan.name in hidden:
            needed = (rights or {}).get(plan.name, ["DESCRIBE"])
            found.append(missing_rights(f"topic {plan.name}", needed, settings))
            continue
        if topic is None:
            found.append(f"topic {plan.name} does not exist: run `leeboard topics apply`")
            continue
        if plan.exact and topic.partitions != plan.partitions:
            found.append(_wrong_partitions(plan, topic, settings))
        policy = known.get(plan.name, {}).get("cleanup.policy")
        if policy is None:
            found.append(missing_rights(f"topic {plan.name}", ["DESCRIBE_CONFIGS"], settings))
        elif policy != plan.cleanup:
            found.append(
                f"topic {plan.name} has cleanup.policy={policy} and needs {plan.cleanup}: "
                "run `leeboard topics apply`"
                + ("; what compaction has removed is lost" if plan.cleanup == "delete" else "")
            )
        missing = [op for op in (rights or {}).get(plan.name, ()) if op not in topic.operations]
        if missing:
            found.append(missing_rights(f"topic {plan.name}", missing, settings))
    return found


def _wrong_partitions(plan: TopicPlan, topic: ExistingTopic, settings: KafkaSettings) -> str:
    text = f"topic {plan.name} has {topic.partitions} partitions and needs {plan.partitions}"
    if plan.name in (settings.topics.calls, settings.topics.state):
        return (
            f"{text}: set kafka.partitions to what {settings.topics.calls} and {settings.topics.state} both have, "
            "or use new topics (a scope must stay in its partition)"
        )
    return f"{text}: use another topic for it, since its order matters"


def missing_rights(resource: str, operations: Sequence[str], settings: KafkaSettings) -> str:
    """The rights to grant, in words for an operator."""
    who = f"User:{settings.security.username}" if settings.security.username else "this client"
    return f"{who} lacks {', '.join(operations)} on {resource}: add an ACL (deploy/kafka/acls.md lists them by role)"
