"""The producer on a real broker: in order, once, over outages, at the end of a process, in forked children, secured."""

import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from leeboard.pipelines.producer import KafkaSettings, Producer, SecuritySettings, Stats, TopicSettings
from leeboard.pipelines.producer.client import CLIENT_ARGUMENTS
from leeboard.schemas import ModelCall, decode

from .broker import USERS, Broker

ROOT = Path(__file__).parents[2]


def a_call(number: int, **fields: Any) -> ModelCall:
    return ModelCall(**{"id": f"c-{number}", "time": 1_767_571_200_000 + number, "app": "support", **fields})


def settings_for(broker: Broker, topic: str, user: str = "admin", *, tls: bool = False) -> KafkaSettings:
    return broker.settings(user, tls=tls, topics=TopicSettings(raw=[topic]))


def ids(broker: Broker, topic: str) -> list[str]:
    """Ids of the calls on a topic, in its order."""
    calls = [decode(record.value) for record in broker.records(topic)]
    return [call.id for call in calls if isinstance(call, ModelCall)]


def settled(producer: Producer, done: Callable[[Stats], bool], seconds: float = 30) -> Stats:
    deadline = time.monotonic() + seconds
    while not done(producer.stats()) and time.monotonic() < deadline:
        time.sleep(0.02)
    return producer.stats()


def beginning(broker: Broker, topic: str) -> str:
    """The first lines of a program: it has `producer`, and the names of this module."""
    settings = f"bootstrap_servers=[{broker.bootstrap!r}], topics=TopicSettings(raw=[{topic!r}])"
    return (
        "import itertools, os, sys, threading, time; from tests.kafka.test_producer import *\n"
        f"producer = Producer(KafkaSettings({settings}))\n"
    )


def run(code: str, broker: Broker, topic: str) -> None:
    """Run a program to its end; it prints nothing."""
    command = [sys.executable, "-c", beginning(broker, topic) + code]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_calls_arrive_once_as_they_were_and_in_order_of_their_scope(
    kafka: Broker, new_topic: Callable[..., str]
) -> None:
    topic = new_topic(partitions=4)
    calls = [
        a_call(n, route=f"r/{n % 7}", tenant=f"t-{n % 3}", input_text="Wie geht's? ☕" * (n % 5)) for n in range(2000)
    ]
    with Producer(settings_for(kafka, topic)) as producer:
        assert all(producer.emit(call) for call in calls)
        assert producer.flush()
        assert producer.stats() == Stats(2000, {}, 2000, 0, 0, None)
    records = kafka.records(topic)
    assert Counter(decode(record.value).id for record in records) == Counter(call.id for call in calls)  # type: ignore[union-attr]
    partitions: dict[str, set[int]] = {}
    for route in {call.route for call in calls}:
        own = [record for record in records if decode(record.value).route == route]
        assert [decode(record.value) for record in own] == [call for call in calls if call.route == route]
        assert {record.key for record in own} == {f"/support/default/{route}".replace("r/", "r%2F").encode()}
        partitions[str(route)] = {record.partition for record in own}
    assert all(len(found) == 1 for found in partitions.values()), "tenants of a route share its partition"
    assert len(set.union(*partitions.values())) > 1


def test_calls_emitted_before_there_is_a_broker_are_delivered_when_it_comes() -> None:
    broker = Broker()
    producer = Producer(settings_for(broker, "raw"), most_calls=300)
    kept = [producer.emit(a_call(n)) for n in range(500)]  # an `emit` that waited for a broker would never return
    assert kept == [True] * 300 + [False] * 200
    with broker:
        broker.create_topic("raw")
        assert producer.flush(30)
        assert producer.stats() == Stats(500, {"queue_full": 200}, 300, 0, 0, None)
        assert ids(broker, "raw") == [f"c-{n}" for n in range(300)]
        producer.close()


def test_no_queued_call_is_lost_or_doubled_when_the_broker_restarts_and_nothing_is_logged(
    new_broker: Callable[..., Broker],
) -> None:
    """An application without any configuration of logs gets every warning on its standard error."""
    broker = new_broker()
    topic = broker.create_topic("raw", 2)
    code = """
producer.emit(a_call(0)); producer.flush(); print("up", flush=True)
def emit():
    for n in itertools.count(1):
        if stop.is_set(): break
        assert producer.emit(a_call(n, route=f"r{n % 5}", output_text="yes " * 200))
        time.sleep(0.002)
    print(n, flush=True)
stop = threading.Event(); thread = threading.Thread(target=emit); thread.start()
sys.stdin.readline(); stop.set(); thread.join()
assert producer.flush(30), producer.stats()
"""
    pipe = subprocess.PIPE
    command = [sys.executable, "-c", beginning(broker, topic) + code]
    program = subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe, stderr=pipe, text=True)
    assert program.stdout is not None
    assert program.stdout.readline() == "up\n"
    time.sleep(0.3)
    broker.kill()
    time.sleep(2)
    broker.start()
    time.sleep(0.3)
    said, errors = program.communicate("stop\n", timeout=60)
    assert (program.returncode, errors) == (0, "")
    assert int(said) > 500
    assert sorted(ids(broker, topic)) == sorted(f"c-{n}" for n in range(int(said)))


def test_a_process_that_ends_normally_delivers_everything(kafka: Broker, new_topic: Callable[..., str]) -> None:
    topic = new_topic(partitions=2)
    run("for n in range(10_000): assert producer.emit(a_call(n))", kafka, topic)
    assert sorted(ids(kafka, topic)) == sorted(f"c-{n}" for n in range(10_000))


def test_a_process_that_ends_with_an_exception_delivers_everything(
    kafka: Broker, new_topic: Callable[..., str]
) -> None:
    topic = new_topic()
    code = "producer.emit(a_call(0))\ntry: raise SystemExit(0)\nfinally: producer.emit(a_call(1))"
    run(code, kafka, topic)
    assert ids(kafka, topic) == ["c-0", "c-1"]


def test_a_forked_child_delivers_its_own_calls_and_the_parent_its_own(
    kafka: Broker, new_topic: Callable[..., str]
) -> None:
    """The parent has a live client, and calls on their way, at the moment of the fork."""
    topic = new_topic()
    code = """
producer.emit(a_call(0)); producer.flush()
for n in range(1, 1000): producer.emit(a_call(n))
child = os.fork()
for n in range(1000, 1500): producer.emit(a_call(n + (0 if child else 10_000)))
if child == 0:
    assert producer.stats().emitted == 500
    sys.exit(0)
assert os.waitpid(child, 0)[1] == 0
assert producer.flush() and producer.stats().delivered == 1500
"""
    run(code, kafka, topic)
    expected = [*range(1500), *range(11_000, 11_500)]
    assert sorted(ids(kafka, topic)) == sorted(f"c-{n}" for n in expected)


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_children_of_multiprocessing_deliver_before_they_end(
    kafka: Broker, new_topic: Callable[..., str], method: str
) -> None:
    topic = new_topic()
    code = f"""
import multiprocessing
producer.emit(a_call(0))
context = multiprocessing.get_context({method!r})
children = [context.Process(target=emit_in_child, args=({kafka.bootstrap!r}, {topic!r}, n)) for n in (1, 2)]
for child in children: child.start()
for child in children: child.join(); assert child.exitcode == 0
"""
    run(code, kafka, topic)
    assert sorted(ids(kafka, topic)) == ["c-0", "c-1", "c-2"]


def emit_in_child(bootstrap: str, topic: str, number: int) -> None:
    """Emit with the parent's producer where the child has it, else with one of its own."""
    import __main__

    own = Producer(KafkaSettings(bootstrap_servers=[bootstrap], topics=TopicSettings(raw=[topic])))
    getattr(__main__, "producer", own).emit(a_call(number))


def test_a_call_that_the_broker_refuses_fails_alone(kafka: Broker, new_topic: Callable[..., str]) -> None:
    topic = new_topic(max_message_bytes="20000")
    noise = random.Random(1).randbytes(40_000).hex()
    with Producer(settings_for(kafka, topic)) as producer:
        for n in range(300):
            producer.emit(a_call(n, input_text=noise if n in (10, 11, 250) else "hello"))
            if n == 9:
                producer.flush()
        assert producer.flush()
        stats = producer.stats()
    assert (stats.delivered, stats.failed) == (297, 3)
    assert ids(kafka, topic) == [f"c-{n}" for n in range(300) if n not in (10, 11, 250)]


def test_calls_wait_for_a_topic_that_does_not_exist_yet(kafka: Broker) -> None:
    with Producer(settings_for(kafka, "raw-that-comes-late")) as producer:
        producer.emit(a_call(1))
        trouble = settled(producer, lambda stats: "not found" in (stats.trouble or "")).trouble
        kafka.create_topic("raw-that-comes-late")
        assert producer.flush(15)
    assert trouble is not None
    assert "raw-that-comes-late not found" in trouble
    assert ids(kafka, "raw-that-comes-late") == ["c-1"]


def test_logins_tls_and_acls(secure_kafka: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    topic = secure_kafka.create_topic("raw")
    secure_kafka.allow("ana", topic, "write", "describe")
    monkeypatch.setitem(CLIENT_ARGUMENTS, "bootstrap_timeout_ms", 2000)
    wrong = SecuritySettings(protocol="SASL_PLAINTEXT", username="ana", password=USERS["ben"])
    with ExitStack() as stack:

        def producer_of(settings: KafkaSettings) -> Producer:
            producer = Producer(settings)
            stack.callback(producer.close, 0.1)
            producer.emit(a_call(1))
            return producer

        allowed = producer_of(settings_for(secure_kafka, topic, "ana", tls=True))
        forbidden = producer_of(settings_for(secure_kafka, topic, "ben"))
        stranger = producer_of(KafkaSettings(bootstrap_servers=[secure_kafka.bootstrap], security=wrong))
        assert allowed.flush()
        assert allowed.stats() == Stats(1, {}, 1, 0, 0, None)
        found = settled(forbidden, lambda stats: stats.trouble is not None)
        assert "TopicAuthorizationFailedError" in str(found.trouble)
        assert found.queued == 1, "it waits for the right"
        secure_kafka.allow("ben", topic, "write", "describe")
        assert forbidden.flush(10)
        assert forbidden.stats() == Stats(1, {}, 1, 0, 0, None)
        # kafka-python loses the broker's own error if it reads that together with the end of the connection
        named = settled(stranger, lambda stats: stats.trouble is not None)
        assert "as SASL_PLAINTEXT, user ana" in str(named.trouble)
        assert named.queued == 1
    assert ids(secure_kafka, topic) == ["c-1", "c-1"]
