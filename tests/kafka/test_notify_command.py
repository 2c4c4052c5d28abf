"""`notify` and `alerts tail` on the command line: rehearsal, following, and what is said when Kafka cannot be used."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import tomli_w
from click.testing import CliRunner, Result
from kafka import KafkaConsumer, TopicPartition
from kafka.admin import ACL, ACLOperation, ACLPermissionType, ResourcePattern, ResourceType
from leeboard.pipelines.cli.commands import cli
from leeboard.pipelines.kafka.clients import python_client
from leeboard.schemas import Alert, decode_result
from msgspec.structs import replace

from ..pipelines.notify.receivers import eventually
from ..pipelines.notify.records import full_page, real_notices, real_pages
from ..pipelines.notify.test_docs import fenced
from .broker import Broker
from .notifying import NAMES, Fleet, new_fleet, sink


@pytest.fixture
def fleet(kafka: Broker, new_topic: Callable[..., str], tmp_path: Path) -> Iterator[Fleet]:
    made = new_fleet(kafka, new_topic, tmp_path)
    yield made
    made.end()


def run(fleet: Fleet, *arguments: str) -> Result:
    """Within this process: no interpreter has to start."""
    result = CliRunner().invoke(cli, [*arguments, "--config", str(fleet.config())])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def test_alerts_tail_prints_alerts_for_people_and_for_programs(fleet: Fleet) -> None:
    nasty = replace(full_page().alert, scope="/[bold]x/e/%1b[31m", served_model=None)
    fleet.write("alerts", *real_notices(), b"no alert", nasty)
    text = run(fleet, "alerts", "tail")
    assert (text.exit_code, text.stderr) == (0, "1 records of the topic are no alerts\n")
    assert text.stdout.count("notice trigger info") == 2
    assert "latency_given_tokens rose to" in text.stdout
    assert "[bold]x/e/" in text.stdout, "markup of a record is text"
    assert "\x1b" not in text.stdout
    as_json = run(fleet, "alerts", "tail", "--json", "--app", "sh*", "--severity", "info")
    found = [decode_result(line.encode()) for line in as_json.stdout.splitlines()]
    assert found == [alert for alert in real_notices() if alert.severity == "info"]
    assert run(fleet, "alerts", "tail", "--json", "--since", "2100-01-01").stdout == ""
    wrong = run(fleet, "alerts", "tail", "--since", "yesterday")
    assert wrong.exit_code == 2
    assert "'yesterday' is neither a time (RFC 3339) nor a number of days" in wrong.stderr


def test_alerts_tail_follows_until_it_is_stopped(fleet: Fleet) -> None:
    alerts = [alert for alert in real_notices() if isinstance(alert, Alert)]
    fleet.write("alerts", alerts[0])
    process = fleet.start("alerts", "tail", "--follow", "--json")
    assert process.stdout is not None
    assert decode_result(process.stdout.readline().encode()) == alerts[0]
    fleet.write("alerts", alerts[1])
    assert decode_result(process.stdout.readline().encode()) == alerts[1]
    process.send_signal(signal.SIGINT)
    assert process.wait(15) == 0
    assert fleet.said() == ""


def test_the_reader_in_the_documentation_reads_and_commits(fleet: Fleet) -> None:
    script = fenced("python")
    assert len(script.splitlines()) <= 10
    script = script.replace("leeboard.alerts", fleet.topics["alerts"])
    script = script.replace("127.0.0.1:9092", fleet.broker.bootstrap).replace("my-tool", fleet.topics["alerts"])
    alerts = real_notices()[:2]
    fleet.write("alerts", *alerts)
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    fleet.processes.append(process)
    assert process.stdout is not None
    for alert in alerts:
        line = f"{alert.status} {alert.severity} {alert.scope} {alert.verdict.sentence}\n"
        assert process.stdout.readline() == line
    group = KafkaConsumer(**python_client(fleet.settings), group_id=fleet.topics["alerts"])
    try:
        eventually(lambda: group.committed(TopicPartition(fleet.topics["alerts"], 0)) == 2)
    finally:
        group.close()


def test_a_rehearsal_prints_what_each_sink_would_be_sent_and_sends_nothing(fleet: Fleet) -> None:
    """No secret is set, nobody listens at the sinks, and the group commits nothing."""
    fleet.notify = sink("pagerduty", "http://127.0.0.1:1") + sink("slack", "") + '[[notify.routes]]\nsink = "slack"\n'
    fleet.notify += '[[notify.routes]]\nsink = "pagerduty"\nseverity = ["critical"]\n'
    fleet.write("pages", *real_pages(), b"no page")
    process = fleet.start("notify", "--rehearse", "--json")
    assert process.stdout is not None
    lines = [json.loads(process.stdout.readline()) for _ in range(6)]
    assert [line["sink"] for line in lines] == ["slack", "pagerduty", "slack", "pagerduty", "pagerduty", "slack"]
    assert lines[1]["body"]["event_action"] == "trigger"
    process.send_signal(signal.SIGTERM)
    assert process.wait(15) == 0
    eventually(lambda: "would be a dead letter" in fleet.said())
    assert fleet.read("dead_letters") == []


def test_without_any_sink_a_rehearsal_prints_pages_and_notices_for_people(fleet: Fleet) -> None:
    fleet.write("pages", full_page())
    fleet.write("alerts", real_notices()[0])
    process = fleet.start("notify", "--rehearse")
    assert process.stdout is not None
    text = ""
    while "PAGE" not in text or "notice trigger info" not in text:
        text += process.stdout.readline()
    assert re.search(r"PAGE +trigger critical +acme/shop/production/answer", text)
    process.kill()


def test_what_is_wrong_with_kafka_is_said_in_a_sentence(new_broker: Callable[..., Broker], tmp_path: Path) -> None:
    broker = new_broker(secure=True)
    names = [*NAMES, "compacted", "nowhere"]
    for name in NAMES:
        broker.create_topic(name)
    broker.create_topic("compacted", cleanup_policy="compact")
    with broker.admin() as admin:
        rights = (ACLOperation.READ, ACLOperation.WRITE, ACLOperation.DESCRIBE_CONFIGS)
        patterns = [ResourcePattern(ResourceType.TOPIC, name) for name in names]
        admin.create_acls([ACL("User:ana", "*", o, ACLPermissionType.ALLOW, p) for o in rights for p in patterns])
    silent = [  # these are tried for as long as a client tries: both at once, beside the others
        (Case(broker, "ana", {"bootstrap_servers": ["127.0.0.1:1"]}), r"no Kafka broker .* kafka\.bootstrap_servers"),
        (Case(broker, "ana", password="nope"), r"no Kafka broker .* kafka\.security\."),
    ]
    started = [(case.start(tmp_path / f"{number}.toml"), said) for number, (case, said) in enumerate(silent)]
    for case, said in (
        (Case(broker, "ana", topics={"pages": "nowhere"}), "topic nowhere does not exist.*leeboard topics apply"),
        (Case(broker, "ana", topics={"pages": "compacted"}), "topic compacted has cleanup.policy=compact"),
        (Case(broker, "ben"), "topic pages"),
        (Case(broker, "ana"), "User:ana lacks rights .*GroupAuthorizationFailedError.*leeboard-notify"),
    ):
        path = case.write(tmp_path / "leeboard.toml")
        result = CliRunner().invoke(cli, ["notify", "--config", str(path)], env=case.environment)
        check_refusal(result.exit_code, result.stderr, said)
    assert not [thread.name for thread in threading.enumerate() if thread.name.startswith("kafka-io")]
    for process, said in started:
        errors = process.communicate(timeout=60)[1]
        check_refusal(process.returncode, errors, said)


def check_refusal(code: int, errors: str, said: str) -> None:
    assert code == 2, errors
    assert re.search(said, errors, re.DOTALL), errors
    assert "Traceback" not in errors
    assert "secret" not in errors
    assert "nope" not in errors


@dataclass
class Case:
    """`leeboard notify` that cannot work."""

    broker: Broker
    user: str
    kafka: dict[str, Any] = field(default_factory=dict)
    topics: dict[str, str] = field(default_factory=dict)
    password: str | None = None

    @property
    def environment(self) -> dict[str, str]:
        password = self.password or self.broker.settings(self.user).security.password
        return {"LEEBOARD__KAFKA__SECURITY__PASSWORD": password}

    def write(self, path: Path) -> Path:
        settings = replace(self.broker.settings(self.user), **self.kafka)
        topics = {name: name for name in NAMES} | self.topics
        security = {"protocol": settings.security.protocol, "username": self.user}
        values = {"bootstrap_servers": settings.bootstrap_servers, "topics": topics, "security": security}
        sinks = {"am": {"type": "alertmanager", "url": "http://127.0.0.1:1"}}
        path.write_text(tomli_w.dumps({"kafka": values, "notify": {"sinks": sinks, "http_port": 0}}))
        return path

    def start(self, path: Path) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "leeboard.pipelines.cli", "notify", "--config", str(self.write(path))],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **self.environment},
        )
