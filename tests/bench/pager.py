"""From the send of the call that causes a page to the request at PagerDuty, through the whole Kafka runtime."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import numpy as np
from leeboard.schemas import Page, decode_result
from msgspec.structs import replace

from tests.kafka.broker import Broker
from tests.kafka.fleet import Fleet
from tests.pipelines.notify.receivers import ACCEPTED, Answer, Request, receiver
from tests.pipelines.watch.streams import Traffic

from .table import note, table

SCOPES, CALLS_A_SECOND, HISTORY = 40, 50, 400
#: a scope turns slow in the first part of the live time; 30 of its calls later it has paged
TURNS_S, LIVE_S, PATIENCE_S = 50.0, 90.0, 60.0
#: latency of a scope that has turned slow
SLOW = 6.0
#: every severe change pages at once: the gate's controller falls by 16 a second
BUDGET = "[budget]\npages_per_week = 1e7\ncalls_per_week = 1e11\n"
#: the intervals of a deployment, not those of the other tests
INTERVALS = {"session_timeout_s": 15.0, "publish_interval_s": 15.0, "state_interval_s": 60.0}
KEY = "LEEBOARD__NOTIFY__SINKS__PAGER__ROUTING_KEY"


@dataclass
class Times:
    """Epoch seconds: call id -> its send, page key -> the request that opened it."""

    sent: dict[str, float] = field(default_factory=dict)
    arrived: dict[str, float] = field(default_factory=dict)

    def answer(self, request: Request) -> Answer:
        """Note a page."""
        if request.json["event_action"] == "trigger":
            self.arrived.setdefault(request.json["dedup_key"], time.time())
        return ACCEPTED


@dataclass(frozen=True)
class Way:
    """Seconds of one page: call to alert, alert to page, page to request."""

    alert_s: float
    page_s: float
    request_s: float

    @property
    def whole_s(self) -> float:
        """All of it."""
        return self.alert_s + self.page_s + self.request_s


@contextmanager
def notify(fleet: Fleet, url: str) -> Iterator[None]:
    """`leeboard notify` with one PagerDuty sink."""
    with fleet.config_path.open("a") as file:
        file.write(f'{BUDGET}[notify]\nhttp_port = 0\n[notify.sinks.pager]\ntype = "pagerduty"\nurl = "{url}"\n')
    command = [sys.executable, "-m", "leeboard.pipelines.cli", "notify", "--config", str(fleet.config_path)]
    with (fleet.folder / "notify.log").open("wb") as log:
        process = subprocess.Popen(command, stderr=log, env={**os.environ, KEY: "0" * 32})
    try:
        yield
    finally:
        process.terminate()
        process.wait(30)


def live(fleet: Fleet, times: Times) -> None:
    """History of all scopes at once, then their calls as they would come, some of which turn slow."""
    rng = np.random.default_rng(1)
    turns = rng.permutation(np.linspace(0.0, TURNS_S, SCOPES))
    scopes = [Traffic(k, app=f"app-{k}") for k in range(SCOPES)]
    producer = fleet.producer()
    spacing_ms = 1000 * SCOPES // CALLS_A_SECOND
    began_ms = int(time.time() * 1000) - (HISTORY + 60) * spacing_ms
    for k, traffic in enumerate(scopes):
        for number, call in enumerate(traffic.calls(HISTORY, model_served=f"m-{k}")):
            fleet.emit(producer, replace(call, time=began_ms + number * spacing_ms))
    producer.flush()
    fleet.settle(("normalise", "watch", "gate"))
    started = time.time()
    for number in count():
        due_s = number / CALLS_A_SECOND
        if due_s > LIVE_S:
            break
        time.sleep(max(started + due_s - time.time(), 0.0))
        k = number % SCOPES
        slow = SLOW if due_s > turns[k] else 1.0
        (call,) = scopes[k].calls(1, latency=slow, model_served=f"m-{k}")
        times.sent[call.id] = now = time.time()
        fleet.emit(producer, replace(call, time=int(now * 1000)))
    producer.flush()
    producer.close()


def ways(fleet: Fleet, times: Times) -> list[Way]:
    """The pages that live calls have caused."""
    topics = fleet.config.kafka.topics
    alerts = {record.value: record.timestamp / 1000 for record in fleet.read(topics.alerts)}
    by_id = {decode_result(value).id: at for value, at in alerts.items()}  # type: ignore[union-attr]
    found = []
    for record in fleet.read(topics.pages):
        page = decode_result(record.value)
        assert isinstance(page, Page)
        sent = times.sent.get(page.alert.evidence.positions.this.call_id)
        if page.status == "trigger" and sent is not None:
            alert_s, page_s = by_id[page.alert.id], record.timestamp / 1000
            found.append(Way(alert_s - sent, page_s - alert_s, times.arrived[page.page_key] - page_s))
    return found


def section() -> str:
    """One run."""
    times = Times()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        server = stack.enter_context(receiver(times.answer))
        fleet = Fleet.create(stack.enter_context(Broker()), folder, "pager", **INTERVALS)
        stack.callback(fleet.kill)
        stack.enter_context(notify(fleet, server.url))
        for stage in ("normalise", "watch", "gate"):
            fleet.add(stage)
        live(fleet, times)
        deadline = time.monotonic() + PATIENCE_S
        while len(times.arrived) < SCOPES and time.monotonic() < deadline:
            time.sleep(0.2)
        found = ways(fleet, times)
    rows = []
    for what, seconds in (
        ("call to alert (producer, normalise, watch)", [way.alert_s for way in found]),
        ("alert to page (gate)", [way.page_s for way in found]),
        ("page to request (notify)", [way.request_s for way in found]),
        ("**call to request**", [way.whole_s for way in found]),
    ):
        median, high, most = np.percentile(seconds, [50, 99, 100])
        rows.append([what, f"{median:.2f} s", f"{high:.2f} s", f"{most:.2f} s"])
    text = (
        f"{CALLS_A_SECOND} calls a second over {SCOPES} scopes with {HISTORY} calls each, one process a stage, default "
        f"intervals, broker on the same {os.cpu_count()} cores; the latency of one scope after the other becomes "
        f"{SLOW:g} times as long. {len(found)} of {SCOPES} paged. From the send of the call that caused the alert to "
        "the arrival of the request at a local HTTP server; to reach: p99 < 5 s."
    )
    return note(text) + "\n" + table(["way", "median", "p99", "most"], rows)
