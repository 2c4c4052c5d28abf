"""`leeboard produce`: what it sends, what it says of bad input and of brokers that are away."""

import gzip
import json
import logging
import os
import subprocess
import sysconfig
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from leeboard.pipelines.cli.commands import cli
from leeboard.pipelines.producer import feed
from leeboard.pipelines.simulate import default_scenario, simulate
from leeboard.schemas import Accept, Deploy, ModelCall, Score, decode, encode

from .broker import Broker

LEEBOARD = Path(sysconfig.get_path("scripts")) / "leeboard"


def environment(broker: Broker, topic: str) -> dict[str, str]:
    return {
        "LEEBOARD__KAFKA__BOOTSTRAP_SERVERS": f'["{broker.bootstrap}"]',
        "LEEBOARD__KAFKA__TOPICS__RAW": f'["{topic}"]',
        "LEEBOARD__KAFKA__TOPICS__CONTROL": topic,
    }


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """The command turns kafka-python's log off, for its process."""
    yield
    logging.getLogger("kafka").setLevel(logging.NOTSET)


def produce(broker: Broker, topic: str, *arguments: object, data: bytes = b"") -> Result:
    command = ["produce", *map(str, arguments)]
    done = CliRunner().invoke(cli, command, input=data, env=environment(broker, topic))
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done


@pytest.fixture(scope="module")
def calls() -> list[ModelCall]:
    """A day of simulated calls."""
    return list(simulate(default_scenario(3, 1.0, 1500)))


def test_calls_of_files_arrive_in_the_order_of_their_scopes(
    kafka: Broker, new_topic: Callable[..., str], calls: list[ModelCall], tmp_path: Path
) -> None:
    topic = new_topic(partitions=4)
    lines = [encode(call) + b"\n" for call in calls]
    half = len(lines) // 2
    (tmp_path / "a.jsonl").write_bytes(b"".join(lines[:half]))
    (tmp_path / "b.jsonl.gz").write_bytes(gzip.compress(b"".join(lines[half:])))
    done = produce(kafka, topic, tmp_path / "a.jsonl", tmp_path / "b.jsonl.gz")
    assert (done.exit_code, done.stderr) == (0, "")
    assert done.stdout == f"sent {len(calls):,} records to {topic}\n"
    found = [decode(record.value) for record in kafka.records(topic)]
    for scope in {(call.app, call.route) for call in calls}:
        assert [c for c in found if isinstance(c, ModelCall) and (c.app, c.route) == scope] == [
            c for c in calls if (c.app, c.route) == scope
        ]


def test_simulated_calls_go_through_a_pipe(kafka: Broker, new_topic: Callable[..., str]) -> None:
    topic = new_topic()
    pipe = f"{LEEBOARD} simulate --days 0.1 --calls-a-day 2000 --cause none | {LEEBOARD} produce - --json"
    command = ["bash", "-o", "pipefail", "-c", pipe]
    done = subprocess.run(command, env=os.environ | environment(kafka, topic), capture_output=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, b"")
    result = json.loads(done.stdout)
    assert result == {"topic": topic, "sent": len(kafka.records(topic)), "failed": 0, "refused": {}}
    assert result["sent"] > 100


def test_lines_that_are_no_calls_are_refused_with_their_reason(kafka: Broker, new_topic: Callable[..., str]) -> None:
    topic = new_topic()
    call = ModelCall(id="c-1", time=1_767_571_200_000, app="support")
    score = Score(time=1_767_571_200_000, app="support", call_id="c-1", name="helpful", value=1.0, evaluator="judge")
    deploy = Deploy(time=1_767_571_200_000, app="support", what="prompt 22")
    ahead = ModelCall(id="c-2", time=time.time_ns() // 1_000_000 + 2 * 86_400_000, app="support")
    lines = [encode(call), b"nonsense", encode(score), encode(deploy), b'{"schema": "model_call/1"}', encode(ahead)]
    done = produce(kafka, topic, "-", data=b"\n".join(lines))
    assert done.exit_code == 0
    assert [decode(record.value) for record in kafka.records(topic)] == [call, score]
    assert "refused 4 records: 1 missing_field, 1 not_allowed, 1 not_json, 1 time_ahead (first: -:2: " in done.stderr


def test_controls_go_to_their_own_topic(kafka: Broker, new_topic: Callable[..., str]) -> None:
    topic = new_topic()
    time_ms = 1_767_571_200_000
    deploy = Deploy(time=time_ms, app="support", tenant="north", route="*", what="prompt 22")
    accept = Accept(time=time_ms, app="support", route="chat")
    call = ModelCall(id="c-1", time=time_ms, app="support")
    done = produce(kafka, topic, "-", "--control", data=b"\n".join(map(encode, (deploy, call, accept))))
    assert done.exit_code == 0
    assert "refused 1 records: 1 not_a_control" in done.stderr
    records = kafka.records(topic)
    assert [decode(record.value) for record in records] == [deploy, accept]
    assert [record.key for record in records] == [b"north/support/default/%2A", b"/support/default/chat"]


def test_the_rate_is_held(kafka: Broker, new_topic: Callable[..., str], calls: list[ModelCall]) -> None:
    topic = new_topic()
    done = produce(kafka, topic, "-", "--rate", 50, data=b"\n".join(map(encode, calls[:60])))
    assert done.exit_code == 0
    times = [record.timestamp for record in kafka.records(topic)]
    assert len(times) == 60
    assert times[-1] - times[0] >= 1000, "60 records at 50 a second; how much longer depends on the machine"


def test_nothing_to_send_ends_with_3(kafka: Broker, new_topic: Callable[..., str]) -> None:
    done = produce(kafka, new_topic(), "-", data=b"nonsense\n")
    assert done.exit_code == 3
    assert "1 not_json" in done.stderr


def test_a_topic_that_does_not_exist_is_named(kafka: Broker) -> None:
    done = produce(kafka, "nobody-made-this", "-")
    assert done.exit_code == 2
    assert done.stderr == "leeboard: there is no topic nobody-made-this (kafka.topics): it has to be created first\n"


def test_a_broker_that_is_away_is_named() -> None:
    broker = Broker()
    done = produce(broker, "raw", "-")
    broker.remove()
    assert done.exit_code == 2
    assert done.stderr == (f"leeboard: no broker: {broker.bootstrap}: Connection refused (kafka.bootstrap_servers)\n")


def test_a_file_that_is_missing_is_named(kafka: Broker, new_topic: Callable[..., str]) -> None:
    done = produce(kafka, new_topic(), "no-such-file.jsonl")
    assert done.exit_code == 2
    assert "no-such-file.jsonl: no such file" in done.stderr


def test_a_feed_waits_for_room_and_fails_when_nothing_is_acknowledged(
    new_broker: Callable[..., Broker], monkeypatch: pytest.MonkeyPatch
) -> None:
    broker = new_broker()
    topic = broker.create_topic("raw")
    monkeypatch.setattr(feed, "MAX_QUEUED_CALLS", 100)
    monkeypatch.setattr(feed, "FEED_PATIENCE_S", 1.0)
    calls = [ModelCall(id=f"c-{n}", time=n, app="support") for n in range(500)]
    made = feed.RecordFeed(broker.settings(), topic)
    for call in calls:
        made.send(call)
    assert made.finish().delivered == 500
    stuck = feed.RecordFeed(broker.settings(), topic)
    broker.kill()
    with pytest.raises(feed.FeedError, match="nothing was acknowledged for 1 s"):
        for call in calls:
            stuck.send(call)
