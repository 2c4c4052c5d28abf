"""`longshore notify`, killed or frozen at any moment: every page arrives, under one key, and ends last."""

import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from kafka import TopicPartition
from longshore.schemas import Page

from ..pipelines.notify.receivers import ACCEPTED, Answer, Receiver, Request, eventually, receiver
from .broker import Broker
from .notifying import Fleet, events, new_fleet, secrets, sink, story

WAIT_S = 30.0
SINKS = ("pagerduty", "slack", "webhook")


@pytest.fixture
def fleet(kafka: Broker, new_topic: Callable[..., str], tmp_path: Path) -> Iterator[Fleet]:
    made = new_fleet(kafka, new_topic, tmp_path)
    yield made
    made.end()
    if "Traceback" in made.said():
        pytest.fail(made.said())


@pytest.fixture
def server() -> Iterator[Receiver]:
    """Slow enough that a kill finds something under way, and refusing now and then."""
    numbers = random.Random(0)

    def answering(request: Request) -> Answer:
        if numbers.random() < 0.1:
            return Answer(503, after_s=0.02)
        good = ACCEPTED if "/v2/" in request.path else Answer()
        return Answer(good.status, good.body, after_s=0.02)

    with receiver(answering) as made:
        yield made


def routed(fleet: Fleet, server: Receiver) -> None:
    fleet.notify = "http_port = 0\n" + "".join(
        sink(kind, f"{server.url}/hook" if kind == "webhook" else server.url) for kind in SINKS
    )
    fleet.environment = secrets(server.url, *SINKS)


def offset(fleet: Fleet) -> int:
    return fleet.reader.committed(TopicPartition(fleet.topics["pages"], 0)) or 0


def told(server: Receiver, path: str) -> list[Request]:
    return [request for request in list(server.requests) if request.path == path]


def check(server: Receiver, pages: list[Page]) -> None:
    """Every page at every sink; at the pager one key each, its end last."""
    actions = keys(server)
    assert {*actions} == {page.page_key for page in pages}
    for key, seen in actions.items():
        assert seen[0] == "trigger", key
        assert seen[-1] == "resolve", (key, seen)
    ids = [request.headers["webhook-id"] for request in told(server, "/hook")]
    assert len({*ids}) == len(pages), "a receiver that knows ids sees every page once"
    assert len(told(server, "/slack")) >= len(pages)


def keys(server: Receiver) -> dict[str, list[str]]:
    return events(request.json for request in told(server, "/v2/enqueue"))


def test_killed_frozen_and_stopped_at_random_moments_every_page_arrives(fleet: Fleet, server: Receiver) -> None:
    """Two processes; the one that tells is killed, its heir is frozen and wakes when all is told, the next is killed.

    LONGSHORE_KILL_SEED moves the moments.
    """
    numbers = random.Random(int(os.environ.get("LONGSHORE_KILL_SEED", "1")))
    routed(fleet, server)
    pages = story(24)
    processes = [fleet.start(), fleet.start()]
    frozen = []
    for turn, number in enumerate((signal.SIGKILL, signal.SIGSTOP, signal.SIGKILL)):
        fleet.write("pages", *pages[12 * turn : 12 * turn + 12])
        count = len(server.requests)
        eventually(lambda count=count: len(server.requests) > count + 3, WAIT_S)  # type: ignore[misc]
        time.sleep(numbers.uniform(0.0, 0.3))
        process = processes.pop(0)
        process.send_signal(number)
        processes.append(fleet.start())
        if number == signal.SIGSTOP:
            frozen.append(process)
    fleet.write("pages", *pages[36:])
    eventually(lambda: {*keys(server)} >= {page.page_key for page in pages[36:]}, WAIT_S)
    for process in processes:
        process.send_signal(signal.SIGTERM)
    first, last = (process.wait(25) for process in processes)
    assert first == 0, fleet.said()
    assert last in (0, -signal.SIGTERM), "which may not have begun yet"
    assert offset(fleet) == len(pages), fleet.said()
    check(server, pages)
    assert len(server.requests) < 2 * len(SINKS) * len(pages), "what was committed is not told again"
    count = len(server.requests)
    frozen[0].send_signal(signal.SIGCONT)
    time.sleep(2.0)
    assert len(server.requests) - count <= len(SINKS), "woken, it sends at most what it was sending when it froze"
    check(server, pages)
    assert frozen[0].poll() is None
