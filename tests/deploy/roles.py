"""A broker with logins on which the roles of deploy/kafka/acls.json exist, and workers that run as them."""

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kafka.admin import (
    ACL,
    ACLOperation,
    ACLPermissionType,
    ACLResourcePatternType,
    ResourcePattern,
    ResourceType,
    ScramMechanism,
    UserScramCredentialUpsertion,
)
from leeboard.pipelines.config import Config, load

from tests.kafka.broker import Broker
from tests.kafka.fleet import WorkerProcess

from .places import DEPLOY, json_of

SCRIPT = DEPLOY / "kafka" / "apply_acls.py"
STAGES = ("normalise", "watch", "gate")
#: what a login may do without being told so: who may read or write may also look (Kafka's authorizer)
IMPLIED = {("topic", "DESCRIBE"), ("transactional_id", "DESCRIBE"), ("group", "DESCRIBE")}


@dataclass(frozen=True)
class Right:
    """One operation on one resource."""

    resource: str
    name: str
    pattern: str
    operation: str

    def acl(self, user: str) -> ACL:
        """Allow it to a user."""
        pattern = ResourcePattern(
            ResourceType[self.resource.upper()], self.name, ACLResourcePatternType[self.pattern.upper()]
        )
        return ACL(f"User:{user}", "*", ACLOperation[self.operation], ACLPermissionType.ALLOW, pattern)

    @property
    def said(self) -> str:
        """The resource as a message names it."""
        names = {"transactional_id": "transactional ids that begin with", "cluster": "the cluster"}
        return names.get(self.resource, f"{self.resource} {self.name}")


def rights_in(role: str) -> list[Right]:
    """The rights of a role as acls.json lists them."""
    return [
        Right(entry["resource"], entry["name"], entry["pattern"], operation)
        for entry in json_of("kafka/acls.json")["roles"][role]["allow"]
        for operation in entry["operations"]
    ]


def needed_in(role: str) -> list[Right]:
    """The rights of a role that nothing else implies."""
    rights = rights_in(role)
    others = {(right.resource, right.name) for right in rights if right.operation in ("READ", "WRITE")}
    return [
        right
        for right in rights
        if (right.resource, right.operation) not in IMPLIED or (right.resource, right.name) not in others
    ]


def roles() -> list[str]:
    """The roles of acls.json."""
    return list(json_of("kafka/acls.json")["roles"])


def user_of(role: str) -> str:
    """The login of a role."""
    principal: str = json_of("kafka/acls.json")["roles"][role]["principal"]
    return principal.removeprefix("User:")


@dataclass
class Secure:
    """The broker, a folder for configurations and logs, and what was started."""

    broker: Broker
    folder: Path
    workers: list[WorkerProcess] = field(default_factory=list)

    def add_users(self, users: Iterator[str] | list[str]) -> None:
        """Logins, each with the password `<user>-secret`."""
        mechanism = ScramMechanism.SCRAM_SHA_512
        wanted = [UserScramCredentialUpsertion(user, mechanism, f"{user}-secret") for user in users]
        with self.broker.admin() as admin:
            assert not any(admin.alter_user_scram_credentials(wanted).values())

    def allow(self, acls: list[ACL]) -> None:
        """Create some ACLs."""
        with self.broker.admin() as admin:
            assert not admin.create_acls(acls)["failed"]

    def config_file(self, user: str, *, name: str | None = None, password: str | None = None, **kafka: Any) -> Path:
        """A configuration over TLS; `kafka`: other keys of `[kafka]` and, as a dictionary, of `security`."""
        name = name or user
        secret = self.folder / f"{name}.password"
        secret.write_text(f"{password or f'{user}-secret'}\n")
        values = {
            "bootstrap_servers": [self.broker.tls_bootstrap],
            "partitions": 2,
            "replication_factor": 1,
            "http_port": 0,
            "session_timeout_s": 6.0,
            "publish_interval_s": 0.5,
            "state_interval_s": 3.0,
            **kafka,
        }
        login = {
            "protocol": "SASL_SSL",
            "ca_file": str(self.broker.ca_file),
            "username": user,
            "password_file": str(secret),
            **values.pop("security", {}),
        }
        lines = ["[kafka]", *(f"{key} = {json.dumps(value)}" for key, value in values.items())]
        lines += ["[kafka.security]", *(f"{key} = {json.dumps(value)}" for key, value in login.items())]
        path = self.folder / f"{name}.toml"
        path.write_text("\n".join(lines) + "\n")
        return path

    def config(self, user: str, **kafka: Any) -> Config:
        """The same, read."""
        return load(self.config_file(user, **kafka), {})

    def worker(self, stage: str, config: Path) -> WorkerProcess:
        """Start a stage."""
        worker = WorkerProcess(stage, config, self.folder / f"{config.stem}-{stage}.log")
        worker.start()
        self.workers.append(worker)
        return worker

    def kill(self) -> None:
        """End what runs still."""
        for worker in self.workers:
            if worker.process is not None:
                worker.process.kill()
                worker.wait()

    def leeboard(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """A command of leeboard."""
        command = [sys.executable, "-m", "leeboard.pipelines.cli", *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def prepare(broker: Broker, folder: Path) -> Secure:
    """Logins, ACLs by the script, topics by the operator's command: as docs/OPERATIONS.md says."""
    secure = Secure(broker, folder)
    admin = secure.config_file("admin", password="admin-secret")
    secure.add_users([user_of(role) for role in roles()])
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "--config", str(admin)], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr
    applied = secure.leeboard("topics", "apply", "--config", str(secure.config_file(user_of("operator"))))
    assert applied.returncode == 0, applied.stdout + applied.stderr
    return secure
