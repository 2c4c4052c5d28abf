"""The whole runtime on a real broker: calls in, alerts and pages out, and what operators ask and do."""

import json
import re
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from leeboard.pipelines.runtime.fold import POSITION_HEADER
from leeboard.schemas import Alert, ModelCall, Mute, Page, decode_result, encode

from tests.pipelines.watch.streams import Traffic

from .broker import Broker, free_ports
from .fleet import PARTITIONS, Fleet

SECRET = "a very private question"


def leeboard(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "leeboard.pipelines.cli", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)


def answer(fleet: Fleet, *arguments: str) -> Any:
    """What a command prints as JSON."""
    done = leeboard(*arguments, "--json", "--config", fleet.config_path)
    assert done.returncode in (0, 1), done.stderr
    return json.loads(done.stdout)


def fetch(port: int, path: str) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as reply:
        text: str = reply.read().decode()
        return text


def calls() -> Iterator[ModelCall]:
    """Two quiet routes, and one that becomes slow."""
    quiet = [Traffic(1, route="a"), Traffic(2, route="b")]
    slow = Traffic(3, route="slow")
    for k in range(700):
        yield from (call for traffic in quiet for call in traffic.calls(1, input_text=SECRET))
        yield from slow.calls(1, latency=4.0 if k > 400 else 1.0)


@pytest.fixture(scope="module")
def fleet(kafka: Broker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """All stages behind one command, after they have processed everything."""
    [port] = free_ports(1)
    made = Fleet.create(kafka, tmp_path_factory.mktemp("runtime"), "runtime", http_port=port)
    made.add("normalise,watch,gate")
    try:
        producer = made.producer()
        raw = made.config.kafka.topics.raw[0]
        for call in calls():
            made.emit(producer, call)
        mute = Mute(time=0, app="shop", route="a", until=1)
        for poison in (b"no JSON " + SECRET.encode(), b"\x00\x00\x00\x00\x01avro", encode(mute), b"{" * 50_000, None):
            producer.send(raw, poison, b"poison")
        # 64 MB of nothing in a record of some KB
        bomb = made.producer(compression_type="gzip", max_request_size=128 << 20)
        bomb.send(raw, b" " * (64 << 20)).get(60)
        bomb.close()
        producer.flush()
        producer.close()
        made.settle(("normalise", "watch", "gate"))
        yield made
    finally:
        made.kill()


def test_the_alerts_are_those_of_a_replay_byte_for_byte(fleet: Fleet, tmp_path: Path) -> None:
    out = tmp_path / "alerts.jsonl"
    assert leeboard("replay", "--from-topic", "--config", fleet.config_path, "--alerts", out).returncode == 1
    live = fleet.read(fleet.config.kafka.topics.alerts)
    assert len(live) > 2
    assert sorted(record.value for record in live) == sorted(out.read_bytes().splitlines())


def test_an_alert_is_a_cloud_event_with_its_source_position(fleet: Fleet) -> None:
    for record in fleet.read(fleet.config.kafka.topics.alerts):
        alert = decode_result(record.value)
        assert isinstance(alert, Alert) and record.key == alert.dedup_key.encode()
        headers = dict(record.headers)
        assert headers["ce_specversion"] == b"1.0" and headers["ce_id"] == alert.id.encode()
        assert headers["ce_type"] == b"leeboard.alert" and headers["content-type"] == b"application/json"
        assert re.fullmatch(rb"\d+/\d+", headers[POSITION_HEADER])


def test_the_compacted_topic_holds_the_newest_alert_of_every_incident(fleet: Fleet) -> None:
    topics = fleet.config.kafka.topics
    newest = {record.key: record.value for record in fleet.read(topics.alerts)}
    assert {record.key: record.value for record in fleet.read(topics.alert_state)} == newest


def test_the_slow_route_pages_once(fleet: Fleet) -> None:
    pages = [decode_result(record.value) for record in fleet.read(fleet.config.kafka.topics.pages)]
    triggers = [page for page in pages if isinstance(page, Page) and page.status == "trigger"]
    assert [page.alert.scope for page in triggers] == ["/shop/default/slow"]
    assert triggers[0].ledger.counted == 1


def test_poison_goes_to_the_dead_letters_and_its_partition_moves_on(fleet: Fleet) -> None:
    found = answer(fleet, "dlq", "ls")
    reasons = sorted(dead_letter["reject"]["reason"] for dead_letter in found)
    assert reasons == ["not_allowed", "not_json", "not_json", "not_json", "too_deep", "too_large"]


def test_no_text_of_a_call_is_in_any_topic_or_log_but_the_raw_one(fleet: Fleet) -> None:
    topics = fleet.config.kafka.topics
    for topic in (topics.calls, topics.state, topics.alerts, topics.alert_state, topics.pages, topics.gate_state):
        assert not any(SECRET.encode() in (record.value or b"") for record in fleet.read(topic))
    for topic in (topics.summaries, topics.dead_letters):
        assert not any(SECRET.encode() in (record.value or b"") for record in fleet.read(topic))
    assert SECRET not in fleet.log_tails()
    port = fleet.config.kafka.http_port
    assert SECRET not in fetch(port, "/metrics")


def test_health_and_metrics_are_served_for_every_stage(fleet: Fleet) -> None:
    port = fleet.config.kafka.http_port
    for index, stage in enumerate(("normalise", "watch", "gate")):
        assert fetch(port + index, "/livez") == fetch(port + index, "/readyz") == "ok\n"
        metrics = fetch(port + index, "/metrics")
        assert f'leeboard_build_info{{stage="{stage}",version=' in metrics
        [processed] = re.findall(rf'leeboard_records_total\{{stage="{stage}"\}} (\S+)', metrics)
        assert float(processed) >= {"normalise": 2106, "watch": 2100, "gate": 3}[stage]
    assert 'leeboard_dead_letters_total{reason="not_allowed",stage="normalise"} 1.0' in fetch(port, "/metrics")
    assert 'leeboard_alerts_total{severity="info",stage="watch",status="trigger"}' in fetch(port + 1, "/metrics")
    assert 'leeboard_gate_counted_pages{stage="gate"} 1.0' in fetch(port + 2, "/metrics")


def test_lag_and_state_are_listed(fleet: Fleet) -> None:
    lag = answer(fleet, "lag")
    assert lag["members"] == {"normalise": 1, "watch": 1, "gate": 1}
    assert sum(part["lag"] for part in lag["partitions"] if part["stage"] != "gate") == 0
    deadline = time.monotonic() + 30  # state is written after 1.5 s, with the next record or without
    found = answer(fleet, "state", "ls")
    while sum(len(part["scopes"]) for part in found) < 3:
        assert time.monotonic() < deadline, found
        time.sleep(0.5)
        found = answer(fleet, "state", "ls")
    assert all(part["done"] >= part["base"] for part in found)


def test_refused_records_can_be_sent_again(fleet: Fleet) -> None:
    done = answer(fleet, "dlq", "replay", "--reason", "not_allowed", "--dry-run")
    assert len(done["sent"]) == 1
    assert answer(fleet, "dlq", "replay", "--reason", "not_allowed") == done
    fleet.settle(("normalise",))
    assert len(answer(fleet, "dlq", "ls", "--reason", "not_allowed")) == 2


def test_state_is_kept_over_a_stop_and_can_be_dropped_and_learned_again(fleet: Fleet) -> None:
    """The last test of this fleet: it ends it."""
    topics = fleet.config.kafka.topics
    done = leeboard("state", "drop", "--yes", "--config", fleet.config_path)
    assert done.returncode == 2 and "stop them first" in done.stderr
    fleet.stop()
    assert fleet.workers[0].exits == [0], fleet.log_tails()
    stored = answer(fleet, "state", "ls")
    assert all(part["done"] == part["base"] for part in stored)
    before = len(fleet.read(topics.alerts))
    assert leeboard("state", "drop", "--yes", "--config", fleet.config_path).returncode == 0
    assert answer(fleet, "state", "ls") == []
    fleet.add("watch", "--warm-from", "3000d")
    fleet.settle(("watch",))
    fleet.stop()
    assert len(fleet.read(topics.alerts)) == before, "what is learned again is not published again"
    again = answer(fleet, "state", "ls")
    assert {part["partition"]: set(part["scopes"]) for part in again} == {
        part["partition"]: set(part["scopes"]) for part in stored
    }


def test_topics_that_are_not_as_they_must_be_are_refused_with_the_remedy(kafka: Broker, tmp_path: Path) -> None:
    fleet = Fleet.create(kafka, tmp_path, "refused")
    topics = fleet.config.kafka.topics
    assert leeboard("topics", "check", "--config", fleet.config_path).returncode == 0
    with kafka.admin() as admin:
        admin.delete_topics([topics.state, topics.calls])
    kafka.create_topic(topics.calls, PARTITIONS + 1)
    kafka.create_topic(topics.state, PARTITIONS, cleanup_policy="delete", retention_ms="1000")
    check = leeboard("topics", "check", "--config", fleet.config_path)
    assert check.returncode == 1
    worker = leeboard("worker", "--stages", "watch", "--config", fleet.config_path)
    assert worker.returncode == 2
    for text in (check.stdout, worker.stderr):
        assert f"{topics.calls} has {PARTITIONS + 1} partitions and needs {PARTITIONS}" in text
        assert f"{topics.state} has cleanup.policy=delete and needs compact" in text
    assert leeboard("topics", "apply", "--config", fleet.config_path).returncode == 0
    assert "cleanup.policy" not in leeboard("topics", "check", "--config", fleet.config_path).stdout


def test_without_topics_a_worker_says_how_to_make_them(kafka: Broker, tmp_path: Path) -> None:
    from .fleet import config_file

    path = config_file(tmp_path, kafka, "nothing")
    done = leeboard("worker", "--stages", "gate", "--config", path)
    assert done.returncode == 2 and "leeboard topics apply" in done.stderr
    for command in (["lag"], ["state", "ls"], ["dlq", "ls"], ["replay", "--from-topic"]):
        done = leeboard(*command, "--config", path)
        assert "Traceback" not in done.stderr
        assert done.returncode in (0, 2)


def test_without_a_broker_every_command_says_what_to_check(tmp_path: Path) -> None:
    [port] = free_ports(1)
    path = tmp_path / "nowhere.toml"
    path.write_text(f'[kafka]\nbootstrap_servers = ["127.0.0.1:{port}"]\n')
    done = leeboard("lag", "--config", path)
    assert done.returncode == 2
    assert f"127.0.0.1:{port}: nobody listens there" in done.stderr and "Traceback" not in done.stderr


def test_a_port_that_is_taken_is_named(kafka: Broker, fleet: Fleet, tmp_path: Path) -> None:
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        other = Fleet.create(kafka, tmp_path, "port", http_port=taken.getsockname()[1])
        done = leeboard("worker", "--stages", "gate", "--config", other.config_path)
    assert done.returncode == 2 and "LEEBOARD__KAFKA__HTTP_PORT" in done.stderr
