"""`leeboard notify`, killed or frozen at any moment: every page arrives, under one key, and ends last."""

import os
import random
import signal
import subprocess
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from kafka import TopicPartition
from leeboard.schemas import Page

from ..pipelines.notify.receivers import ACCEPTED, Answer, Receiver, Request, eventually
from .broker import Broker, free_ports
from .notifying import Fleet, events, new_fleet, secrets, sink, story

WAIT_S = 30.0
#: a receiver takes so long for an answer
ANSWER_S = 0.02
SINKS = ("pagerduty", "slack", "webhook")


@pytest.fixture
def fleet(kafka: Broker, new_topic: Callable[..., str], tmp_path: Path) -> Iterator[Fleet]:
    made = new_fleet(kafka, new_topic, tmp_path)
    yield made
    made.end()
    if "Traceback" in made.said():
        pytest.fail(made.said())


@dataclass
class Trap:
    """Signals a process when the pager's receiver has a request in hand, or has answered it."""

    process: subprocess.Popen[str]
    number: int
    #: after the request came; the answer goes out after ANSWER_S
    after_s: float
    sprung: threading.Event = field(default_factory=threading.Event)

    def spring(self) -> None:
        self.process.send_signal(self.number)
        self.sprung.set()


class Pager(Receiver):
    """Slow enough that a signal finds something under way, and refusing now and then."""

    def __init__(self) -> None:
        super().__init__(self.answer)
        self.numbers = random.Random(0)
        self.trap: Trap | None = None

    def answer(self, request: Request) -> Answer:
        trap = self.trap
        if trap is not None and request.path == "/v2/enqueue":
            self.trap = None
            threading.Timer(trap.after_s, trap.spring).start()
        if self.numbers.random() < 0.1:
            return Answer(503, after_s=ANSWER_S)
        good = ACCEPTED if "/v2/" in request.path else Answer()
        return Answer(good.status, good.body, after_s=ANSWER_S)


@pytest.fixture
def server() -> Iterator[Pager]:
    made = Pager()
    yield made
    made.close()


def routed(fleet: Fleet, server: Receiver) -> None:
    fleet.notify = "".join(sink(kind, f"{server.url}/hook" if kind == "webhook" else server.url) for kind in SINKS)
    fleet.environment = secrets(server.url, *SINKS)


def offset(fleet: Fleet) -> int:
    return fleet.reader.committed(TopicPartition(fleet.topics["pages"], 0)) or 0


def arrived(server: Receiver, path: str) -> list[Request]:
    return [request for request in list(server.requests) if request.path == path]


def check(server: Receiver, pages: list[Page]) -> None:
    """Every page at every sink; at the pager one key each, its end last."""
    actions = keys(server)
    assert {*actions} == {page.page_key for page in pages}
    for key, seen in actions.items():
        assert seen[0] == "trigger", key
        assert seen[-1] == "resolve", (key, seen)
    ids = [request.headers["webhook-id"] for request in arrived(server, "/hook")]
    assert len({*ids}) == len(pages), "a receiver that knows ids sees every page once"
    assert len(arrived(server, "/slack")) >= len(pages)


def keys(server: Receiver) -> dict[str, list[str]]:
    return events(request.json for request in arrived(server, "/v2/enqueue"))


def ready(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def test_killed_and_frozen_with_a_page_in_hand_or_just_answered_every_page_arrives(fleet: Fleet, server: Pager) -> None:
    """Two processes; whichever sends is killed before its answer, the next frozen, the next killed before its commit.

    The frozen one wakes when all is sent. LEEBOARD_KILL_SEED moves the moments.
    """
    numbers = random.Random(int(os.environ.get("LEEBOARD_KILL_SEED", "1")))
    routed(fleet, server)
    pages = story(24)
    running: dict[int, subprocess.Popen[str]] = {}

    def start() -> None:
        [port] = free_ports(1)
        fleet.environment["LEEBOARD__NOTIFY__HTTP_PORT"] = str(port)
        running[port] = fleet.start()

    start()
    start()
    frozen = []
    for turn, (number, after_s) in enumerate(
        [
            (signal.SIGKILL, 0.0),
            (signal.SIGSTOP, numbers.uniform(0.0, 2.0 * ANSWER_S)),
            (signal.SIGKILL, ANSWER_S + numbers.uniform(0.0, 0.1)),
        ]
    ):
        eventually(lambda: any(map(ready, running)), WAIT_S)
        sending = next(port for port in running if ready(port))
        server.trap = trap = Trap(running.pop(sending), number, after_s)
        fleet.write("pages", *pages[12 * turn : 12 * turn + 12])
        assert trap.sprung.wait(WAIT_S)
        if number == signal.SIGSTOP:
            frozen.append(trap.process)
        start()
    fleet.write("pages", *pages[36:])
    eventually(lambda: {*keys(server)} >= {page.page_key for page in pages[36:]}, WAIT_S)
    for process in running.values():
        process.send_signal(signal.SIGTERM)
    codes = [process.wait(25) for process in running.values()]
    assert 0 in codes, fleet.said()
    assert {*codes} <= {0, -signal.SIGTERM}, "one may not have begun yet"
    assert offset(fleet) == len(pages), fleet.said()
    check(server, pages)
    assert len(server.requests) < 2 * len(SINKS) * len(pages), "what was committed is not sent again"
    count = len(server.requests)
    frozen[0].send_signal(signal.SIGCONT)
    time.sleep(2.0)
    assert len(server.requests) - count <= len(SINKS), "woken, it sends at most what it was sending when it froze"
    check(server, pages)
    assert frozen[0].poll() is None
