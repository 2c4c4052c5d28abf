"""The README's section on Kafka, as a newcomer follows it, with a worker killed on the way."""

import os
import re
import signal
import subprocess
import sysconfig
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from kafka import KafkaConsumer, TopicPartition

from tests.architecture.test_readme import Block, blocks

from .broker import POLL_MS, Broker, die_with_parent, free_ports

ROOT = Path(__file__).parents[2]
OURS = "tests/kafka/test_readme.py::test_the_kafka_section_of_the_readme_does_what_it_says"
BACKGROUND = "# in a terminal of its own"
MOST_SECONDS = 180
#: what the README names, and what stands for it here
PORTS = ("9464", "9474")


def our_blocks() -> list[Block]:
    found = blocks((ROOT / "README.md").read_text(encoding="utf-8"))
    return [block for block in found if block.mark and block.mark["what"] == OURS]


def committed(broker: Broker, topic: str) -> list[bytes]:
    """All committed values of a topic with one partition."""
    consumer = KafkaConsumer(
        bootstrap_servers=[broker.bootstrap], isolation_level="read_committed", enable_auto_commit=False
    )
    tp = TopicPartition(topic, 0)
    consumer.assign([tp])
    consumer.seek_to_beginning(tp)
    end, values = consumer.end_offsets([tp])[tp], []
    while consumer.position(tp) < end:
        values += [record.value for record in consumer.poll(POLL_MS).get(tp, [])]
    consumer.close()
    return values


@pytest.fixture
def terminals(tmp_path: Path) -> Iterator[Callable[[str, dict[str, str]], subprocess.Popen[bytes]]]:
    """Start commands that go on; at the end they are told to stop."""
    running: list[subprocess.Popen[bytes]] = []

    def open_(command: str, environment: dict[str, str]) -> subprocess.Popen[bytes]:
        log = (tmp_path / f"terminal-{len(running)}.log").open("wb")
        process = subprocess.Popen(
            ["bash", "-c", f"exec {command}" if "=" not in command.split()[0] else f"exec env {command}"],
            cwd=tmp_path,
            env=environment,
            stdout=log,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            preexec_fn=die_with_parent,
        )
        log.close()
        running.append(process)
        return process

    yield open_
    for process in running:
        process.send_signal(signal.SIGTERM)
    for process in running:
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def test_the_kafka_section_of_the_readme_does_what_it_says(
    new_broker: Callable[..., Broker],
    terminals: Callable[[str, dict[str, str]], subprocess.Popen[bytes]],
    tmp_path: Path,
) -> None:
    broker = new_broker()
    first, second = free_ports(12)[::6]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    environment |= {
        "PATH": os.pathsep.join([sysconfig.get_path("scripts"), os.environ["PATH"]]),
        "NO_COLOR": "1",
        "LEEBOARD__KAFKA__BOOTSTRAP_SERVERS": f"['{broker.bootstrap}']",
        "LEEBOARD__KAFKA__HTTP_PORT": str(first),
        "LEEBOARD__NOTIFY__HTTP_PORT": "0",
    }
    opened: list[subprocess.Popen[bytes]] = []
    said = ""
    for block in our_blocks():
        text = block.text.replace(PORTS[1], str(second))
        for name, value in re.findall(r"^export (\w+)=(\S+)", text, re.MULTILINE):
            environment[name] = value
        if text.startswith(BACKGROUND):
            opened.append(terminals(text.splitlines()[-1], environment))
            continue
        if "replay" in text:
            opened[0].send_signal(signal.SIGKILL)  # "kill a worker, however you like"
            settle(environment)
        # replay exits with 1: there are incidents
        command = ["bash", "-uo", "pipefail", "-c", text]
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=MOST_SECONDS, check=False
        )
        assert done.returncode == (1 if "replay" in text else 0), done.stdout + done.stderr
        said += done.stdout
    live = sorted(committed(broker, "leeboard.alerts"))
    assert live and live == sorted((tmp_path / "again.jsonl").read_bytes().splitlines())
    rehearsed = (tmp_path / "terminal-2.log").read_text()
    assert committed(broker, "leeboard.pages") and "PAGE" in rehearsed.upper()
    assert "no dead letters" in said


def settle(environment: dict[str, str]) -> None:
    """Wait until *watch* has published everything: the second worker takes over what the first one had."""
    deadline = time.monotonic() + MOST_SECONDS
    while True:
        done = subprocess.run(["leeboard", "lag"], env=environment, capture_output=True, text=True, check=False)
        lags = re.findall(r"^ *(normalise|watch) +\d+ +\S+ +(\S+)", done.stdout, re.MULTILINE)
        if lags and all(lag == "0" for _, lag in lags):
            return
        assert time.monotonic() < deadline, done.stdout + done.stderr
        time.sleep(1.0)
