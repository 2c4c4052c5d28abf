"""A fleet for tests: its own topics on a broker, worker processes that are restarted, calls, and readers."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.errors import KafkaError
from leeboard.pipelines.config import Config, load
from leeboard.pipelines.kafka.clients import python_client
from leeboard.pipelines.kafka.operate.topics import apply_topics
from leeboard.schemas import ModelCall, encode, route_of, scope_key

from .broker import POLL_MS, Broker, die_with_parent

PARTITIONS = 6
#: short enough that every kind of write happens in a test
INTERVALS = {"session_timeout_s": 6, "publish_interval_s": 1.0, "state_interval_s": 3.0}
#: a worker that ended is started again after so long
RESTART_S = 0.3
SETTLE_S = 120.0
#: the command line of this build, as arguments of Python
THIS_BUILD = ("-m", "leeboard.pipelines.cli")


def config_file(folder: Path, broker: Broker, name: str, **kafka: Any) -> Path:
    """A configuration for a fleet of that name."""
    topics = ("control", "calls", "state", "alerts", "alert_state", "pages", "gate_state", "summaries", "dead_letters")
    values = {"partitions": PARTITIONS, "replication_factor": 1, "http_port": 0, **INTERVALS, **kafka}
    lines = ["[kafka]", f'bootstrap_servers = ["{broker.bootstrap}"]', f'app_id = "{name}"']
    lines += [f"{key} = {value}" for key, value in values.items()]
    lines += ["[kafka.topics]", f'raw = ["{name}.raw"]', *(f'{topic} = "{name}.{topic}"' for topic in topics)]
    path = folder / f"{name}.toml"
    path.write_text("\n".join(lines) + "\n")
    return path


@dataclass
class WorkerProcess:
    """One `leeboard worker --stages <stage>`, started again when it ends, as a supervisor would."""

    stage: str
    config: Path
    log: Path
    options: tuple[str, ...] = ()
    process: subprocess.Popen[bytes] | None = None
    stopped_until_s: float = 0.0
    wanted: bool = True
    start_at_s: float = 0.0
    exits: list[int] = field(default_factory=list)
    build: tuple[str, ...] = THIS_BUILD

    def start(self) -> None:
        """Start the process."""
        command = [sys.executable, *self.build, "worker"]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*command, "--stages", self.stage, "--config", str(self.config), *self.options],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=die_with_parent,
            )

    def tend(self) -> None:
        """Start the process if it should run and does not; resume it when it was frozen for long enough."""
        now = time.monotonic()
        if self.process is not None and self.process.poll() is not None:
            self.exits.append(self.process.returncode)
            self.process = None
            self.start_at_s = now + RESTART_S
        if self.process is None and self.wanted and now >= self.start_at_s:
            self.start()
        if self.stopped_until_s and now >= self.stopped_until_s:
            self.send(signal.SIGCONT)
            self.stopped_until_s = 0.0

    def send(self, number: signal.Signals) -> None:
        """A signal, if it runs."""
        if self.process is not None and self.process.poll() is None:
            os.kill(self.process.pid, number)

    def freeze(self, seconds: float) -> None:
        """Stop it for a while; it continues later."""
        self.send(signal.SIGSTOP)
        self.stopped_until_s = time.monotonic() + seconds

    def ask_to_stop(self) -> None:
        """Let it end as it should."""
        self.wanted = False
        self.send(signal.SIGCONT)
        self.send(signal.SIGTERM)

    def wait(self, patience_s: float = 60.0) -> int | None:
        """Wait until it has ended; its exit code."""
        if self.process is None:
            return None
        try:
            code = self.process.wait(patience_s)
        except subprocess.TimeoutExpired:
            self.process.kill()
            code = self.process.wait()
        self.exits.append(code)
        self.process = None
        return code


@dataclass
class Fleet:
    """Workers and topics of one name."""

    broker: Broker
    folder: Path
    name: str
    config_path: Path
    config: Config
    workers: list[WorkerProcess] = field(default_factory=list)

    @classmethod
    def create(cls, broker: Broker, folder: Path, name: str, **kafka: Any) -> "Fleet":
        """Make the topics."""
        path = config_file(folder, broker, name, **kafka)
        config = load(path, {})
        with broker.admin() as admin:
            apply_topics(admin, config.kafka)
            admin.wait_for_topics([*config.kafka.topics.raw, config.kafka.topics.calls, config.kafka.topics.state])
        return cls(broker, folder, name, path, config)

    def add(self, stage: str, *options: str, build: tuple[str, ...] = THIS_BUILD) -> WorkerProcess:
        """One more worker."""
        log = self.folder / f"{self.name}-{stage}-{len(self.workers)}.log"
        worker = WorkerProcess(stage, self.config_path, log, options, build=build)
        self.workers.append(worker)
        worker.start()
        return worker

    def tend(self) -> None:
        """See `WorkerProcess.tend`."""
        for worker in self.workers:
            worker.tend()

    def stop(self) -> None:
        """End all workers as they should."""
        for worker in self.workers:
            worker.ask_to_stop()
        for worker in self.workers:
            worker.wait()

    def kill(self) -> None:
        """End all workers at once."""
        for worker in self.workers:
            worker.wanted = False
            worker.send(signal.SIGKILL)
            if worker.process is not None:
                worker.process.wait()
                worker.process = None

    def producer(self, **options: Any) -> Any:
        """kafka-python's producer."""
        return KafkaProducer(**python_client(self.config.kafka), linger_ms=5, delivery_timeout_ms=120_000, **options)

    def emit(self, producer: Any, call: ModelCall) -> None:
        """One call to the raw topic, keyed by its scope."""
        key = scope_key(None, call.app, call.env, route_of(call)).encode()
        producer.send(self.config.kafka.topics.raw[0], encode(call), key)

    def read(self, topic: str) -> list[Any]:
        """All committed records of a topic, by partition and offset."""
        consumer = KafkaConsumer(
            **python_client(self.config.kafka),
            isolation_level="read_committed",
            auto_offset_reset="earliest",
            enable_auto_commit=False,
        )
        found = []
        try:
            for partition in sorted(consumer.partitions_for_topic(topic) or ()):
                tp = TopicPartition(topic, partition)
                consumer.assign([tp])
                consumer.seek_to_beginning(tp)
                end = consumer.end_offsets([tp])[tp]
                while consumer.position(tp) < end:
                    found += consumer.poll(POLL_MS).get(tp, [])
        finally:
            consumer.close()
        return found

    def behind(self) -> dict[str, int]:
        """Stage -> records that its group has not committed."""
        kafka = self.config.kafka
        alerts = self.read(kafka.topics.alerts)
        with self.broker.admin() as admin:
            tp = TopicPartition(kafka.topics.alerts, 0)
            committed = admin.list_group_offsets({kafka.group("gate"): [tp]})[kafka.group("gate")].get(tp)
            return {
                "normalise": _lag(admin, kafka.group("normalise"), kafka.topics.raw),
                "watch": _lag(admin, kafka.group("watch"), [kafka.topics.calls]),
                # the end of a topic that is written in transactions is a marker that nobody reads
                "gate": sum(record.offset >= (committed.offset if committed is not None else 0) for record in alerts),
            }

    def settle(self, stages: tuple[str, ...], patience_s: float = SETTLE_S) -> None:
        """Wait until these stages have committed everything. Raises AssertionError."""
        deadline = time.monotonic() + patience_s
        quiet = 0
        behind: object = None
        while quiet < 2:
            self.tend()
            try:
                behind = self.behind()
                quiet = quiet + 1 if not any(behind[stage] for stage in stages) else 0
            except KafkaError as error:
                behind, quiet = error, 0
            assert time.monotonic() < deadline, f"behind after {patience_s:g} s: {behind}\n{self.log_tails()}"
            time.sleep(0.3)

    def log_tails(self) -> str:
        """The last lines of the workers' logs."""
        tails = []
        for worker in self.workers:
            text = worker.log.read_text(errors="replace").splitlines()[-25:] if worker.log.exists() else []
            tails.append(f"--- {worker.log.name} (exits {worker.exits})\n" + "\n".join(text))
        return "\n".join(tails)


def _lag(admin: Any, group: str, topics: list[str]) -> int:
    """Records after the committed offsets of a group."""
    from kafka.admin import OffsetSpec

    partitions = [
        TopicPartition(topic["name"], part["partition_index"])
        for topic in admin.describe_topics(topics)
        for part in topic["partitions"]
    ]
    committed = admin.list_group_offsets({group: partitions})[group]
    first = admin.list_partition_offsets(dict.fromkeys(partitions, OffsetSpec.EARLIEST))
    ends = admin.list_partition_offsets(dict.fromkeys(partitions, OffsetSpec.LATEST))
    lag = 0
    for tp in partitions:
        known = committed.get(tp)
        at = known.offset if known is not None and known.offset >= 0 else first[tp].offset
        lag += max(ends[tp].offset - at, 0)
    return lag


def scopes_of_traffic(seed: int, count: int) -> Iterator[int]:
    """Which scope each call belongs to: a few are busy, most are not."""
    chosen = random.Random(seed)
    weights = [1.0 / (k + 1) for k in range(count)]
    while True:
        yield from chosen.choices(range(count), weights, k=1000)
