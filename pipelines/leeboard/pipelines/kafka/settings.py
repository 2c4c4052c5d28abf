"""`[kafka]`: where the brokers are and how to reach them. Importable with the base install."""

from pathlib import Path
from typing import Annotated, Literal, TypeAlias

from leeboard.pipelines.topics import KafkaName, StageName, TopicSettings
from leeboard.pipelines.units import Positive
from msgspec import Meta, Struct, field

SecurityProtocol: TypeAlias = Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"]
SaslMechanism: TypeAlias = Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"]


class SecuritySettings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`[kafka.security]`: TLS and SASL. Secrets come from the environment or from files, never from the TOML."""

    protocol: SecurityProtocol = "PLAINTEXT"
    #: certificates of the authorities to trust (PEM); None: those of the system
    ca_file: str | None = None
    #: own certificate and key (PEM), if brokers ask for them
    cert_file: str | None = None
    key_file: str | None = None
    mechanism: SaslMechanism = "SCRAM-SHA-512"
    username: str | None = None
    #: from the environment
    password: str = ""
    password_file: str | None = None
    #: refuse to start if anybody may write to the control topic
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
        """The password. Raises OSError if its file cannot be read."""
        if self.password_file is not None:
            return Path(self.password_file).read_text(encoding="utf-8").strip()
        return self.password


class KafkaSettings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`[kafka]`."""

    bootstrap_servers: Annotated[list[str], Meta(min_length=1)] = field(default_factory=lambda: ["127.0.0.1:9092"])
    #: prefix of consumer groups and transactional ids: two fleets on one cluster need two
    app_id: KafkaName = "leeboard"
    security: SecuritySettings = field(default_factory=SecuritySettings)
    topics: TopicSettings = field(default_factory=TopicSettings)
    #: partitions of `calls` and `state`: bounds the number of watch workers
    partitions: Annotated[int, Meta(ge=1, le=10_000)] = 24
    replication_factor: Annotated[int, Meta(ge=1, le=10)] = 3
    #: days that `calls` are kept: how far back a replay can begin
    calls_retention_days: Positive = 14.0
    #: a worker that is silent for so long loses its partitions
    session_timeout_s: Positive = 15.0
    #: outputs that are not urgent are published, and positions saved, at least so often
    publish_interval_s: Positive = 15.0
    #: state of every changed scope is written at least so often
    state_interval_s: Positive = 60.0
    #: static member id of a process, so that its restart moves no partitions (a StatefulSet's pod name)
    instance_id: str | None = None
    #: where metrics, /livez and /readyz are served
    http_host: str = "127.0.0.1"
    #: of the first stage; the others take the next ports. 0: none
    http_port: Annotated[int, Meta(ge=0, le=65_000)] = 9464

    def group(self, stage: StageName) -> str:
        """The consumer group of a stage: each has its own, so that scaling one does not stop another."""
        return f"{self.app_id}-{stage}"

    def transactional_id(self, stage: StageName, partition: int) -> str:
        """The transactional id of a partition; opening it again fences the previous owner."""
        return f"{self.app_id}-{stage}-{partition}"
