"""Stages of the Kafka runtime on a real broker, beside a Faust agent with ADWIN, and the way back after a kill."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from kafka import KafkaProducer, TopicPartition
from kafka.errors import KafkaError
from leeboard.pipelines.config import Config
from leeboard.pipelines.kafka.clients import python_client
from leeboard.pipelines.measure.measurer import Measurer
from leeboard.pipelines.topics import StageName
from leeboard.schemas import ModelCall, Observation, encode, encode_observation

from tests.kafka.broker import Broker, die_with_parent
from tests.kafka.fleet import PARTITIONS, Fleet

from .speed import START_MS, fleet
from .table import note, table
from .text import calls_with_texts

CALLS = 120_000
RAW_CALLS = 40_000
RECOVERY_CALLS = 60_000
TEXT_CALLS, TEXT_SCOPES = 40_000, 10
RIVALS = {"memory": "in memory only", "table": "kept in a Faust Table"}
TICKS = os.sysconf("SC_CLK_TCK")
PATIENCE_S = 600.0
#: outputs every second, since what is published tells the end: it must not idle for the 15 s of the defaults
INTERVALS = {"session_timeout_s": 15, "publish_interval_s": 1.0, "state_interval_s": 60.0}


def cpu_s(pid: int) -> float:
    """CPU seconds that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def fill(fleet_: Fleet, topic: str, records: Sequence[tuple[bytes, bytes]]) -> None:
    """Write records to a topic."""
    producer = KafkaProducer(**python_client(fleet_.config.kafka), linger_ms=20, compression_type="lz4")
    for key, value in records:
        producer.send(topic, value, key)
    producer.flush()
    producer.close()


def committed(fleet_: Fleet, group: str, topic: str) -> int:
    """Records that a group has committed; none while there is no such group."""
    tps = [TopicPartition(topic, partition) for partition in range(PARTITIONS)]
    try:
        with fleet_.broker.admin() as admin:
            known = admin.list_group_offsets({group: tps})[group]
    except KafkaError:
        return 0
    return sum(known[tp].offset for tp in tps if tp in known and known[tp].offset > 0)


def until(condition: Callable[[], bool], what: str) -> None:
    """Wait for something. Raises AssertionError."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.1)


def rate(fleet_: Fleet, pid: int, group: str, topic: str, records: Sequence[tuple[bytes, bytes]]) -> float:
    """Records a CPU second of a worker, from its first to its last. It is frozen until all wait for it."""
    first, rest = records[:PARTITIONS], records[PARTITIONS:]
    fill(fleet_, topic, first)
    until(lambda: committed(fleet_, group, topic) >= len(first), f"{group} does not begin")
    before = cpu_s(pid)
    os.kill(pid, signal.SIGSTOP)  # for half of a session at most
    fill(fleet_, topic, rest)
    os.kill(pid, signal.SIGCONT)
    until(lambda: committed(fleet_, group, topic) >= len(records), f"{group} does not end")
    return len(rest) / (cpu_s(pid) - before)


def by_partition(observations: Sequence[Observation]) -> list[tuple[bytes, bytes]]:
    """Keys and values."""
    return [(observation.scope.encode(), encode_observation(observation)) for observation in observations]


def raw_calls(count: int) -> list[tuple[bytes, bytes]]:
    """Calls without text, as applications emit them."""
    made = []
    for k in range(count):
        call = ModelCall(
            id=f"raw-{k}",
            time=START_MS + 10 * k,
            app=f"app-{k % 200}",
            provider="openai",
            model_served="gpt-4o-2024-08-06",
            input_tokens=500 + k % 700,
            output_tokens=100 + k % 90,
            latency_ms=900.0 + k % 500,
            finish_reason="stop",
            labels={"tier": "abc"[k % 3]},
        )
        made.append((call.app.encode(), encode(call)))
    return made


def state_bytes(fleet_: Fleet, records: Sequence[Any]) -> tuple[float, float]:
    """Bytes of state written in all, and a call."""
    written = sum(len(record.value or b"") for record in fleet_.read(fleet_.config.kafka.topics.state))
    return float(written), written / len(records)


def stage_rows(broker: Broker, folder: Path, observations: Sequence[Observation]) -> list[list[str]]:
    """Our stages and the rival, one after the other, each with a core to itself."""
    own = Fleet.create(broker, folder, "throughput", **INTERVALS)
    topics = own.config.kafka.topics
    measured = by_partition(observations)
    watch = own.add("watch")
    assert watch.process is not None
    watch_rate = rate(own, watch.process.pid, own.config.kafka.group("watch"), topics.calls, measured)
    watch.ask_to_stop()
    watch.wait()
    _, each = state_bytes(own, measured)
    normalise = own.add("normalise")
    assert normalise.process is not None
    group = own.config.kafka.group("normalise")
    normalise_rate = rate(own, normalise.process.pid, group, topics.raw[0], raw_calls(RAW_CALLS))
    own.kill()
    rows = [
        ["leeboard watch, all non-text signals, checkpoints on", f"{watch_rate:,.0f}", ""],
        ["leeboard normalise, calls without text", f"{normalise_rate:,.0f}", ""],
    ]
    for mode, kept in RIVALS.items():
        rival = rival_rate(own, mode, measured)
        rows.append([f"Faust agent, River's ADWIN {kept}", f"{rival:,.0f}", f"{watch_rate / rival:.1f}"])
    rows.append(["state written by watch", f"{each:,.0f} bytes a call", ""])
    return rows


def text_rows(broker: Broker, folder: Path) -> list[list[str]]:
    """Both stages on calls with texts."""
    calls = calls_with_texts(TEXT_CALLS, TEXT_SCOPES)
    measurer = Measurer(Config().measure())
    raw = [(call.app.encode(), encode(call)) for call in calls]
    measured = by_partition([measurer.measure(call) for call in calls])
    rates = []
    stages: list[tuple[StageName, list[tuple[bytes, bytes]]]] = [("watch", measured), ("normalise", raw)]
    for stage, records in stages:
        own = Fleet.create(broker, folder, f"texts-{stage}", **INTERVALS)
        kafka = own.config.kafka
        worker = own.add(stage)
        assert worker.process is not None
        topic = kafka.topics.calls if stage == "watch" else kafka.topics.raw[0]
        rates.append(rate(own, worker.process.pid, kafka.group(stage), topic, records))
        own.kill()
    return [
        [f"leeboard watch, {TEXT_SCOPES} scopes with texts", f"{rates[0]:,.0f}", ""],
        ["leeboard normalise, calls of 100 + 200 tokens", f"{rates[1]:,.0f}", ""],
    ]


def rival_rate(own: Fleet, mode: str, records: Sequence[tuple[bytes, bytes]]) -> float:
    """The same for the agent."""
    name = f"rival-{mode}"
    topic = own.broker.create_topic(f"{name}-calls", PARTITIONS)
    own.broker.create_topic(f"{name}-found", 1)
    command = [sys.executable, "-m", "tests.bench.rival_agent", own.broker.bootstrap, topic, mode, name]
    with (own.folder / f"{name}.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True, preexec_fn=die_with_parent)
    try:
        return rate(own, process.pid, name, topic, records)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()


def recovery_row(
    broker: Broker, folder: Path, scopes: int, observations: Sequence[Observation], *, static: bool
) -> list[str]:
    """Kill a worker that owns everything while calls arrive; time until its successor is at the live end."""
    name = f"recovery-{scopes}-{static}"
    settings = INTERVALS | ({"instance_id": '"watch-0"'} if static else {})
    own = Fleet.create(broker, folder, name, **settings)
    topics, group = own.config.kafka.topics, own.config.kafka.group("watch")
    records = by_partition(observations)
    live = len(records) // 10
    watch = own.add("watch")
    fill(own, topics.calls, records[:-live])
    until(lambda: committed(own, group, topics.calls) >= len(records) - live, "not taken")
    watch.ask_to_stop()  # writes all state: what a worker has after a minute
    watch.wait()
    watch.wanted = True
    watch.start()
    time.sleep(20)
    fill(own, topics.calls, records[-live:])
    time.sleep(2)
    watch.send(signal.SIGKILL)
    begun = time.monotonic()
    while committed(own, group, topics.calls) < len(records):
        assert time.monotonic() - begun < PATIENCE_S, "no recovery"
        watch.tend()
        time.sleep(0.1)
    seconds = time.monotonic() - begun
    stored = sum(len(record.value or b"") for record in own.read(topics.state))
    own.kill()
    membership = "static" if static else "dynamic"
    return [f"{scopes:,}", membership, f"{len(records):,}", f"{stored / 1e6:,.0f} MB", f"{seconds:.1f} s"]


def section() -> str:
    """Throughput and recovery."""
    folder = Path(tempfile.mkdtemp(prefix="leeboard-bench-"))
    observations = fleet(CALLS)
    try:
        with Broker() as broker:
            rows = stage_rows(broker, folder, observations) + text_rows(broker, folder)
            recoveries = []
            for scopes in (1000, 5000):
                calls = fleet(RECOVERY_CALLS, scopes=scopes)
                recoveries += [recovery_row(broker, folder, scopes, calls, static=static) for static in (True, False)]
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    head = [f"{CALLS:,} calls of 1,000 scopes, one process", "records / CPU s", "watch is so many times faster"]
    return "\n".join(
        [
            table(head, rows),
            table(["scopes", "membership", "calls", "state topic", "kill -9 to the live end"], recoveries),
            note(
                "CPU time of the whole worker process, fetch to transaction, from the first record to the last commit."
            ),
            note(
                "The way back holds the start of the process and, with dynamic membership, the end of the killed one's "
                "session (15 s). A tenth of the calls arrive in the two seconds before the kill."
            ),
        ]
    )
