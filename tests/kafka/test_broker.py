"""The broker for tests checks logins and ACLs, dies with its test, says what is missing (kills: test_producer)."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from kafka import KafkaAdminClient
from kafka.errors import TopicAuthorizationFailedError
from leeboard.pipelines.kafka.settings import KafkaSettings
from leeboard.pipelines.producer.client import CLIENT_ARGUMENTS, ProducerClient

from . import install
from .broker import PORTS, Broker, free_ports
from .install import Unavailable

ROOT = Path(__file__).parents[2]


def write(settings: KafkaSettings, topic: str, *values: bytes) -> None:
    client = ProducerClient(settings)
    try:
        for sent in [client.send(topic, value=value) for value in values]:
            sent.get(15)
    finally:
        client.shut(5)


def running(pid: int) -> bool:
    """Is there such a process (not only its remains)?"""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_topic_has_the_partitions_and_settings_asked_for(kafka: Broker, new_topic: Callable[..., str]) -> None:
    topic = new_topic(partitions=3, cleanup_policy="compact")
    with kafka.admin() as admin:
        (found,) = admin.describe_topics([topic])
    assert len(found["partitions"]) == 3
    assert new_topic() != topic


def test_a_secure_broker_lets_users_do_what_they_are_allowed(
    secure_kafka: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    topic = secure_kafka.create_topic("calls")
    secure_kafka.allow("ana", topic, "write", "describe")
    write(secure_kafka.settings("ana"), topic, b"by ana")
    write(secure_kafka.settings("ana", tls=True), topic, b"by ana over TLS")
    with pytest.raises(TopicAuthorizationFailedError):
        write(secure_kafka.settings("ben"), topic, b"by ben")
    monkeypatch.setitem(CLIENT_ARGUMENTS, "bootstrap_timeout_ms", 1000)
    with pytest.raises(TimeoutError, match="does not answer as PLAINTEXT"):
        write(KafkaSettings(bootstrap_servers=[secure_kafka.bootstrap]), topic, b"by nobody")
    assert [record.value for record in secure_kafka.records(topic)] == [b"by ana", b"by ana over TLS"]


def test_a_broker_dies_with_the_process_that_started_it() -> None:
    code = (
        "import time; from tests.kafka.broker import Broker; b = Broker().start(); "
        "print(b.pid, b.folder, flush=True); time.sleep(60)"
    )
    starter = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert starter.stdout is not None
    with starter.stdout:
        pid, folder = starter.stdout.readline().split()
    assert running(int(pid))
    starter.kill()
    starter.wait()
    deadline = time.monotonic() + 10
    while running(int(pid)) and time.monotonic() < deadline:
        time.sleep(0.02)
    shutil.rmtree(folder)
    assert not running(int(pid))


def test_the_broker_of_make_kafka_runs_until_it_is_interrupted() -> None:
    (port,) = free_ports(1)
    command = [sys.executable, "-m", "tests.kafka.broker", "--port", str(port)]
    started = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert started.stdout is not None
    said = started.stdout.readline()
    assert f"Kafka at 127.0.0.1:{port}" in said
    folder = Path(said.rpartition(" ")[2].strip())
    write(KafkaSettings(bootstrap_servers=[f"127.0.0.1:{port}"]), new_topic_at(port), b"1")
    started.send_signal(signal.SIGINT)
    _, errors = started.communicate(timeout=30)
    assert (started.returncode, errors) == (0, "")
    assert not folder.exists()


def new_topic_at(port: int) -> str:
    admin = KafkaAdminClient(bootstrap_servers=f"127.0.0.1:{port}")
    admin.create_topics({"calls": {"num_partitions": 1, "replication_factor": 1}})
    admin.close()
    return "calls"


def test_a_broker_that_cannot_start_says_why() -> None:
    broker = Broker(settings={"log.dirs": "/proc/nowhere"})
    try:
        with pytest.raises(Unavailable, match="/proc/nowhere"):
            broker.start()
    finally:
        broker.remove()


def test_a_broker_does_not_take_another_for_itself(kafka: Broker) -> None:
    broker = Broker(port=int(kafka.bootstrap.rpartition(":")[2]))
    try:
        with pytest.raises(Unavailable, match=f"another broker answers at {kafka.bootstrap}"):
            broker.start()
    finally:
        broker.remove()


def test_ports_are_not_those_of_outgoing_connections() -> None:
    first_outgoing, _ = map(int, Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split())
    ports = free_ports(4)
    assert len(set(ports)) == 4
    assert set(ports) <= set(PORTS)
    assert max(PORTS) < first_outgoing


@pytest.fixture
def only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Leave only the named programs in PATH, and an empty cache."""

    def leave(**scripts: str) -> None:
        for name, script in scripts.items():
            (tmp_path / name).write_text(f"#!/bin/sh\n{script}\n")
            (tmp_path / name).chmod(0o755)
        monkeypatch.setenv("PATH", str(tmp_path))
        monkeypatch.setenv(install.CACHE, str(tmp_path / "cache"))
        monkeypatch.delenv("JAVA_HOME", raising=False)

    return leave


NEW_JAVA = """echo 'openjdk version "21.0.4" 2024-07-16' >&2"""
OLD_JAVA = """echo 'openjdk version "11.0.2" 2019-01-15' >&2"""


@pytest.mark.parametrize(
    ("scripts", "said"),
    [
        ({}, "no `java` in PATH.*apt-get install openjdk-17-jre-headless maven"),
        ({"java": OLD_JAVA}, r"11\.0\.2.*needs Java 17.*apt-get install openjdk-17-jre-headless maven"),
        ({"java": NEW_JAVA}, "no `mvn` in PATH.*apt-get install openjdk-17-jre-headless maven"),
        ({"java": NEW_JAVA, "mvn": "echo no route to host; exit 1"}, "no route to host"),
        ({"java": NEW_JAVA, "mvn": "exit 0"}, "other jars than jars.sha256 lists"),
    ],
    ids=["no Java", "old Java", "no Maven", "no network", "other jars"],
)
def test_what_is_missing_for_a_broker_is_named(only: Callable[..., None], scripts: dict[str, str], said: str) -> None:
    only(**scripts)
    with pytest.raises(Unavailable, match=said):
        install.install()
    assert not list(Path(os.environ[install.CACHE]).rglob("libs")), "nothing half done is kept"
