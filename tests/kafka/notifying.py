"""`leeboard notify` as a process of its own, its topics, and what it is given to tell."""

import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from leeboard.pipelines.config import load
from leeboard.pipelines.kafka.clients import python_client
from leeboard.pipelines.kafka.settings import KafkaSettings
from leeboard.pipelines.notify.delivery.metrics import NotifyMetrics, StatusServer
from leeboard.pipelines.notify.kafka.service import open_feed
from leeboard.pipelines.notify.settings import secrets_of
from leeboard.pipelines.notify.sinks import make_sink
from leeboard.schemas import Page, Reject, decode_result, encode
from msgspec import Struct

from ..pipelines.notify.records import full_page
from .broker import Broker

ROUTING_KEY = "R" + "0" * 31
SIGNING_KEY = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
NAMES = ("pages", "alerts", "summaries", "dead_letters")


@dataclass
class Fleet:
    """Topics, settings, and the processes that were started."""

    broker: Broker
    topics: dict[str, str]
    folder: Path
    notify: str = ""
    kafka: str = ""
    environment: dict[str, str] = field(default_factory=dict)
    processes: list[subprocess.Popen[str]] = field(default_factory=list)

    @cached_property
    def reader(self) -> KafkaConsumer:
        """Knows what the group has committed."""
        return KafkaConsumer(
            **python_client(self.settings), group_id=f"{self.topics['pages']}-notify", enable_auto_commit=False
        )

    @property
    def settings(self) -> KafkaSettings:
        return self.broker.settings()

    def config(self) -> Path:
        """The TOML of now."""
        topics = "\n".join(f'{name} = "{topic}"' for name, topic in self.topics.items())
        path = self.folder / "leeboard.toml"
        path.write_text(
            f'[kafka]\nbootstrap_servers = ["{self.broker.bootstrap}"]\napp_id = "{self.topics["pages"]}"\n'
            f"session_timeout_s = 1.5\n{self.kafka}\n[kafka.topics]\n{topics}\n[notify]\n{self.notify}\n"
        )
        return path

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "leeboard.pipelines.cli", *arguments, "--config", str(self.config())]

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """A process; what it says goes to a file of its own."""
        errors = tempfile.NamedTemporaryFile("w+", dir=self.folder, delete=False, suffix=".log")  # noqa: SIM115
        with errors:
            process = subprocess.Popen(
                self.command(*(arguments or ("notify",))),
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                env={**os.environ, **self.environment},
            )
        process.log = Path(errors.name)  # type: ignore[attr-defined]
        self.processes.append(process)
        return process

    @contextmanager
    def telling(self) -> Iterator[StatusServer]:
        """The same within this process, for tests in which nobody is killed: no interpreter has to start."""
        config = load(self.config(), self.environment)
        secrets = secrets_of(config.notify.sinks)
        sinks = {name: make_sink(settings, secrets[name]) for name, settings in config.notify.sinks.items()}
        metrics = NotifyMetrics(sinks)
        feed, stop = open_feed(config, sinks, metrics), threading.Event()
        status = StatusServer("127.0.0.1", 0, metrics.registry, feed.live, feed.ready)
        thread = threading.Thread(target=feed.run, args=(stop,))
        thread.start()
        try:
            yield status
        finally:
            stop.set()
            thread.join(30)
            status.close()
        assert not thread.is_alive()

    def end(self) -> None:
        for process in self.processes:
            if process.poll() is None:
                with suppress(ProcessLookupError):
                    process.send_signal(signal.SIGCONT)
                process.kill()
            process.wait()
            if process.stdout is not None:
                process.stdout.close()
        self.let_go()

    def let_go(self) -> None:
        """Close the reader: kafka-python leaves a socket behind for every broker that it does not reach."""
        if "reader" in vars(self):
            self.reader.close()
            del self.reader

    def said(self) -> str:
        """What the processes have logged."""
        return "\n".join(
            path.read_text() for path in sorted(self.folder.glob("*.log"), key=lambda p: p.stat().st_mtime)
        )

    def write(self, name: str, *values: bytes | Struct) -> None:
        """Records into a topic, acknowledged."""
        producer = KafkaProducer(**python_client(self.settings), acks="all")
        try:
            for sent in [producer.send(self.topics[name], value=_bytes(value)) for value in values]:
                sent.get(15)
        finally:
            producer.close()

    def letters(self) -> list[Reject]:
        """The dead letters so far."""
        return [record for record in map(decode_result, self.read("dead_letters")) if isinstance(record, Reject)]

    def read(self, name: str) -> list[bytes]:
        partition = TopicPartition(self.topics[name], 0)
        self.reader.assign([partition])
        self.reader.seek_to_beginning(partition)
        end = self.reader.end_offsets([partition])[partition]
        found: list[bytes] = []
        while self.reader.position(partition) < end:
            for records in self.reader.poll(500).values():
                found += [record.value for record in records]
        return found


def _bytes(value: bytes | Struct) -> bytes:
    return value if isinstance(value, bytes) else encode(value)


def new_fleet(broker: Broker, new_topic: Callable[..., str], folder: Path) -> Fleet:
    return Fleet(broker, {name: new_topic() for name in NAMES}, folder)


def sink(kind: str, url: str, name: str | None = None, more: str = "") -> str:
    """A sink's table in TOML."""
    address = "" if kind == "slack" else f'url = "{url}"\n'
    return f'[notify.sinks.{name or kind}]\ntype = "{kind}"\n{address}{more}\n'


def secrets(url: str, *names: str) -> dict[str, str]:
    """The secrets of sinks that are named by their type, or by `type_...`."""
    fields = {
        "pagerduty": ("ROUTING_KEY", ROUTING_KEY),
        "slack": ("WEBHOOK_URL", f"{url}/slack"),
        "webhook": ("SECRET", SIGNING_KEY),
    }
    found = {}
    for name in names:
        key, value = fields[name.partition("_")[0]]
        found[f"LEEBOARD__NOTIFY__SINKS__{name.upper()}__{key}"] = value
    return found


def story(count: int, first: int = 0) -> list[Page]:
    """Pages that trigger and resolve, two incidents at a time."""
    pages: list[Page] = []
    for number in range(first, first + count):
        key = f"leeboard-{number:032x}"
        changes: dict[str, Any] = {"dedup_key": key, "scope": f"/app{number}/production/answer"}
        pages.append(full_page("trigger", page_key=key, alert=changes | {"id": f"a{number}"}))
        if number > first:
            before = pages[-2] if pages[-2].status == "trigger" else pages[-3]
            pages.append(_resolved(before))
    return [*pages, _resolved(next(page for page in reversed(pages) if page.status == "trigger"))]


def _resolved(page: Page) -> Page:
    changes = {"dedup_key": page.page_key, "scope": page.alert.scope, "id": f"{page.alert.id}r"}
    return full_page("resolve", page_key=page.page_key, alert=changes)


def events(bodies: Iterable[Any]) -> dict[str, list[str]]:
    """Of PagerDuty's requests: dedup key -> actions in the order in which they came."""
    found: dict[str, list[str]] = {}
    for body in bodies:
        found.setdefault(body["dedup_key"], []).append(body["event_action"])
    return found
