"""`[kafka]`: where the brokers are, how to reach them, what the topics are called. Importable with the base install."""

from pathlib import Path
from typing import Annotated, Literal

from msgspec import Meta, Struct, field

from ..units import Positive

Name = Annotated[str, Meta(pattern=r"^[A-Za-z0-9._-]{1,249}$")]
Protocol = Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"]
Mechanism = Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"]
Stage = Literal["normalise", "watch", "gate"]


class SecuritySettings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`[kafka.security]`: TLS and SASL. Secrets come from the environment or from files, never from the TOML."""

    protocol: Protocol = "PLAINTEXT"
    #: certificates of the authorities to trust (PEM); none: those of the system
    ca_file: str | None = None
    #: own certificate and key (PEM), where brokers ask for them
    cert_file: str | None = None
    key_file: str | None = None
    mechanism: Mechanism = "SCRAM-SHA-512"
    username: str | None = None
    #: from the environment
    password: str = ""
    password_file: str | None = None
    #: refuse to start where anybody may write to the control topic
    control_acl: Literal["required", "unchecked"] = "required"

    @property
    def tls(self) -> bool:
        """Is the connection encrypted?"""
        return self.protocol in ("SSL", "SASL_SSL")

    @property
    def sasl(self) -> bool:
        """Does the client log in?"""
        return self.protocol.startswith("SASL")

    def secret(self) -> str:
        """The password. Raises OSError where its file cannot be read."""
        if self.password_file is not None:
            return Path(self.password_file).read_text(encoding="utf-8").strip()
        return self.password


class TopicSettings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`[kafka.topics]`: names."""

    raw: Annotated[list[Name], Meta(min_length=1)] = field(default_factory=lambda: ["leeboard.raw"])
    control: Name = "leeboard.control"
    calls: Name = "leeboard.calls"
    state: Name = "leeboard.state"
    alerts: Name = "leeboard.alerts"
    alert_state: Name = "leeboard.alert-state"
    pages: Name = "leeboard.pages"
    gate_state: Name = "leeboard.gate-state"
    summaries: Name = "leeboard.summaries"
    dead_letters: Name = "leeboard.dead-letters"


class KafkaSettings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`[kafka]`."""

    bootstrap_servers: Annotated[list[str], Meta(min_length=1)] = field(default_factory=lambda: ["127.0.0.1:9092"])
    #: prefix of consumer groups and transactional ids: two fleets on one cluster need two
    app_id: Name = "leeboard"
    security: SecuritySettings = field(default_factory=SecuritySettings)
    topics: TopicSettings = field(default_factory=TopicSettings)
    #: partitions of `calls` and `state`: bounds the number of watch workers
    partitions: Annotated[int, Meta(ge=1, le=10_000)] = 24
    replication_factor: Annotated[int, Meta(ge=1, le=10)] = 3
    #: days that `calls` are kept: what a replay can go back to
    calls_retention_days: Positive = 14.0
    #: a worker that is silent for so long loses its partitions
    session_timeout_s: Positive = 15.0
    #: outputs that are not urgent are published, and positions saved, at least so often
    publish_interval_s: Positive = 15.0
    #: state of every changed scope is written at least so often
    state_interval_s: Positive = 60.0
    #: static member id, one a process, where restarts should not move partitions (a StatefulSet's pod name)
    instance_id: str | None = None
    #: where metrics, /livez and /readyz are served
    http_host: str = "127.0.0.1"
    #: of the first stage; the others take the next ports. 0: none
    http_port: Annotated[int, Meta(ge=0, le=65_000)] = 9464

    def group(self, stage: Stage) -> str:
        """The consumer group of a stage: each has its own, so that scaling one does not stop another."""
        return f"{self.app_id}-{stage}"

    def transactional_id(self, stage: Stage, partition: int) -> str:
        """What fences the previous owner of a partition."""
        return f"{self.app_id}-{stage}-{partition}"
