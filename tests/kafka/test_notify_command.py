"""`notify` and `alerts tail` on the command line: rehearsal, following, and what is said when Kafka cannot be used."""

import json
import re
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from kafka.admin import ACL, ACLOperation, ACLPermissionType, ResourcePattern, ResourceType
from longshore.pipelines.cli.commands import cli
from longshore.pipelines.config import Config
from longshore.pipelines.kafka.settings import TopicSettings
from longshore.pipelines.notify import brokers
from longshore.pipelines.notify.brokers import BrokerProblem
from longshore.pipelines.notify.feed import Feed
from longshore.pipelines.notify.metrics import Metrics
from longshore.schemas import Alert, decode_result
from msgspec.structs import replace

from ..pipelines.notify.receivers import eventually
from ..pipelines.notify.records import full_page, real_notices, real_pages
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
    assert "neither a span (90m, 12h, 3d) nor a time" in wrong.stderr


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


#: what is wrong -> the user, [kafka.security], topics that are named otherwise, and what is said
WRONG: dict[str, tuple[str, dict[str, Any], dict[str, str], str]] = {
    "password": ("ana", {"password": "nope"}, {}, r"login.* kafka.security.username and LONGSHORE__KAFKA__SECURITY__P"),
    "protocol": ("ana", {"protocol": "PLAINTEXT"}, {}, "want TLS or a login[?] Check kafka.security.protocol"),
    "mechanism": ("ana", {"mechanism": "PLAIN"}, {}, "kafka.security.mechanism"),
    "topic": ("admin", {}, {"pages": "nowhere"}, "topic nowhere is missing: make it .`longshore topics apply`"),
    "topic right": ("ben", {}, {}, "no right to topic pages: grant this user READ"),
    "group right": ("ana", {}, {}, "no right to consumer group longshore-notify: grant this user READ on it"),
}


def test_what_is_wrong_with_kafka_is_said_in_a_sentence(
    new_broker: Callable[..., Broker], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(brokers, "BOOTSTRAP_MS", 2000)
    broker = new_broker(secure=True)
    tls = f'bootstrap_servers = ["{broker.tls_bootstrap}"]\nsecurity.protocol = "SSL"\n'
    processes = {
        "nobody listens there; is it running": command('bootstrap_servers = ["127.0.0.1:1"]'),
        "is not trusted: set kafka.security.ca_file": command(tls),
    }
    for name in NAMES:
        broker.create_topic(name)
    with broker.admin() as admin:
        patterns = [ResourcePattern(ResourceType.TOPIC, name) for name in NAMES]
        admin.create_acls([ACL("User:ana", "*", ACLOperation.READ, ACLPermissionType.ALLOW, p) for p in patterns])
    for user, security, topics, expected in WRONG.values():
        settings = broker.settings(user, topics=TopicSettings(**{name: name for name in NAMES} | topics))
        settings = replace(settings, security=replace(settings.security, **security))
        with pytest.raises(BrokerProblem, match=expected) as problem:
            Feed(Config(kafka=settings), {}, Metrics([])).run(threading.Event())
        assert "secret" not in str(problem.value)
    assert not [thread.name for thread in threading.enumerate() if thread.name.startswith("kafka-io")]
    for expected, process in processes.items():
        said = process.communicate(timeout=60)[1]
        assert (expected in said, said.count("\n"), process.returncode) == (True, 1, 2), said


def command(kafka: str) -> subprocess.Popen[str]:
    toml = f"[kafka]\n{kafka}\n[notify]\n" + sink("alertmanager", "http://127.0.0.1:1")
    with tempfile.NamedTemporaryFile("w", suffix=".toml", delete=False) as file:
        file.write(toml)
    return subprocess.Popen(
        [sys.executable, "-m", "longshore.pipelines.cli", "notify", "--config", file.name],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
