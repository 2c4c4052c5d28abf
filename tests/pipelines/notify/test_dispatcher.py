"""The threads of sinks: at least once, in order within an incident, no sink delayed by another."""

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from leeboard.pipelines.notify.delivery.dispatcher import Dispatcher
from leeboard.pipelines.notify.delivery.queue import Backoff
from leeboard.pipelines.notify.messages.message import Message
from leeboard.pipelines.notify.sinks import DELIVERED, MessageSink, Outcome

from .receivers import ACCEPTED, Answer, Request, always, eventually, in_turn, receiver
from .records import page
from .sinks import sink

QUICK = Backoff(retry_s=30.0, first_s=0.02, most_s=0.05)


class Clock:
    """A monotonic clock that only the test moves."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


class Attempts:
    """What a dispatcher observes."""

    def __init__(self) -> None:
        self.results: list[tuple[str, str]] = []

    def attempted(self, name: str, outcome: Outcome, seconds: float) -> None:
        assert seconds >= 0.0
        self.results.append((name, outcome.result))


class Scripted(MessageSink):
    """Answers as the test says; keeps what it was given."""

    def __init__(self, answering: Callable[[Message], Outcome] = lambda _: DELIVERED) -> None:
        self.answering = answering
        self.received: list[tuple[str, str]] = []
        self.refreshed = 0
        self.closed = False

    def deliver(self, message: Message) -> Outcome:
        self.received.append((message.key, message.status))
        return self.answering(message)

    def refresh(self) -> Outcome:
        self.refreshed += 1
        return DELIVERED

    def close(self) -> None:
        self.closed = True


Starting = Callable[..., Dispatcher]


@pytest.fixture
def start() -> Iterator[Starting]:
    made: list[Dispatcher] = []

    def begin(sinks: dict[str, MessageSink], backoff: Backoff = QUICK, **how: Any) -> Dispatcher:
        dispatcher = Dispatcher(sinks, backoff, how.pop("observer", Attempts()), **how)
        made.append(dispatcher)
        dispatcher.start()
        return dispatcher

    yield begin
    for dispatcher in made:
        dispatcher.stop()


def ended(dispatcher: Dispatcher) -> list[tuple[str, str, str]]:
    """Sink, ticket and result of what was delivered or dropped since the last call."""
    return [(d.sink, str(d.item.ticket), d.outcome.result) for d in dispatcher.deliveries()]


def test_every_sink_ends_every_message_once(start: Starting) -> None:
    with receiver(always(ACCEPTED)) as server:
        kinds = ("pagerduty", "webhook", "alertmanager")
        dispatcher = start({kind: sink(kind, server.url) for kind in kinds})
        for number in range(20):
            dispatcher.submit(page(str(number)), kinds, number)
        assert dispatcher.drain(10.0)
    assert sorted(ended(dispatcher)) == sorted(
        (kind, str(number), "delivered") for kind in kinds for number in range(20)
    )


def test_the_order_within_an_incident_is_kept_whatever_fails(start: Starting) -> None:
    fails = iter([True, False, True, True, False] * 20)
    taken: list[str] = []

    def answering(request: Request) -> Answer:
        if next(fails):
            return Answer(503)
        taken.append(f"{request.json['page_key']} {request.json['status']}")
        return Answer()

    with receiver(answering) as server:
        go = threading.Event()
        dispatcher = start({"hook": sink("webhook", server.url)}, may_send=go.is_set)
        for status in ("trigger", "update", "resolve"):
            for key in "abc":
                dispatcher.submit(page(key, status), ["hook"], 0)
        go.set()
        assert dispatcher.drain(10.0)
    for key in "abc":
        mine = [line for line in taken if line.startswith(key)]
        assert mine == [f"{key} {status}" for status in ("trigger", "update", "resolve")]


@pytest.mark.parametrize("fault", ["broken", "cut", "hangs"])
def test_a_broken_sink_delays_no_other(start: Starting, fault: str) -> None:
    """While the other sink takes everything, this one has taken nothing; when it answers, it takes everything too."""
    mended = threading.Event()

    def answering(_: Request) -> Answer:
        if fault == "hangs":
            mended.wait(30.0)
        return Answer() if mended.is_set() else Answer(500 if fault == "broken" else 0)

    with receiver(answering) as bad, receiver() as good:
        sinks = {"bad": sink("webhook", bad.url, timeout_s=30.0), "good": sink("webhook", good.url)}
        dispatcher = start(sinks)
        for number in range(30):
            dispatcher.submit(page(str(number)), sinks, number)
        eventually(lambda: bad.requests)
        eventually(lambda: dispatcher.depth("good") == 0)
        assert len(good.requests) == 30
        assert dispatcher.depth("bad") == 30
        assert Counter((name, result) for name, _, result in ended(dispatcher)) == {("good", "delivered"): 30}
        assert dispatcher.oldest_s("bad") is not None
        assert dispatcher.oldest_s("good") is None
        mended.set()
        assert dispatcher.drain(20.0)
    assert Counter((name, result) for name, _, result in ended(dispatcher)) == {("bad", "delivered"): 30}


def test_a_pause_that_a_receiver_asks_for_is_kept(start: Starting) -> None:
    clock = Clock()
    with receiver(in_turn(Answer(429, b"", {"Retry-After": "30"}), ACCEPTED)) as server:
        observer = Attempts()
        dispatcher = start({"s": sink("pagerduty", server.url)}, observer=observer, clock=clock)
        dispatcher.submit(page("a"), ["s"], 0)
        eventually(lambda: observer.results == [("s", "retry")])
        clock.now_s += 29.9
        assert not dispatcher.drain(0.5), "not before its time"
        clock.now_s += 0.2
        assert dispatcher.drain(5.0)
    assert len(server.requests) == 2


def test_a_message_that_no_one_takes_in_time_is_dropped_with_its_reason(start: Starting) -> None:
    clock = Clock()
    with receiver(always(Answer(503))) as server:
        observer = Attempts()
        backoff = Backoff(retry_s=60.0, first_s=50.0)
        dispatcher = start({"s": sink("webhook", server.url)}, backoff, observer=observer, clock=clock)
        dispatcher.submit(page(), ["s"], "t")
        eventually(lambda: observer.results == [("s", "retry")])
        clock.now_s += 60.0
        eventually(lambda: dispatcher.depth("s") == 0)
        [delivery] = dispatcher.deliveries()
        assert (delivery.item.ticket, delivery.outcome.result) == ("t", "dropped")
        assert delivery.outcome.reason == "given up after 2 attempts: HTTP 503"
        assert observer.results == [("s", "retry"), ("s", "retry"), ("s", "dropped")]
        server.answering = always(Answer())
        dispatcher.submit(page(status="resolve"), ["s"], "u")
        clock.now_s += 60.0
        assert dispatcher.drain(5.0)
        assert ended(dispatcher) == [("s", "u", "delivered")], "what follows goes out"


def test_a_message_that_is_refused_for_good_is_dropped_at_once(start: Starting) -> None:
    with receiver(in_turn(Answer(400), Answer())) as server:
        dispatcher = start({"s": sink("webhook", server.url)})
        dispatcher.submit(page("a"), ["s"], 1)
        dispatcher.submit(page("b"), ["s"], 2)
        assert dispatcher.drain(5.0)
    first, second = dispatcher.deliveries()
    assert (first.outcome.result, first.outcome.reason) == ("dropped", "HTTP 400")
    assert (second.item.ticket, second.outcome.result) == (2, "delivered")


def test_a_defect_in_a_sink_is_tried_again_and_ends_as_a_dead_letter(start: Starting) -> None:
    def defect(_: Message) -> Outcome:
        raise KeyError("sentence of a record")

    dispatcher = start({"s": Scripted(defect)}, Backoff(retry_s=0.1, first_s=0.05, most_s=0.05))
    dispatcher.submit(page(), ["s"], 0)
    assert dispatcher.drain(10.0)
    [delivery] = dispatcher.deliveries()
    assert delivery.outcome.reason.endswith("defect: KeyError")
    assert dispatcher.alive()


def test_nothing_is_sent_while_held_and_nothing_old_after_clearing(start: Starting) -> None:
    scripted = Scripted()
    go, asked = threading.Event(), threading.Semaphore(0)

    def may_send() -> bool:
        asked.release()
        return go.is_set()

    dispatcher = start({"s": scripted}, may_send=may_send)
    dispatcher.submit(page("old"), ["s"], 0)
    for _ in range(3):  # the thread has looked, and was not let
        assert asked.acquire(timeout=5.0)
    assert scripted.received == []
    dispatcher.clear()
    go.set()
    dispatcher.submit(page("new"), ["s"], 1)
    assert dispatcher.drain(5.0)
    assert scripted.received == [("new", "trigger")]
    assert ended(dispatcher) == [("s", "1", "delivered")]


def test_an_attempt_that_is_being_made_ends_before_clearing_does(start: Starting) -> None:
    busy, go_on = threading.Event(), threading.Event()

    def answering(_: Message) -> Outcome:
        busy.set()
        go_on.wait(10.0)
        return DELIVERED

    dispatcher = start({"s": Scripted(answering)})
    dispatcher.submit(page(), ["s"], 0)
    assert busy.wait(5.0)
    threading.Timer(0.2, go_on.set).start()
    dispatcher.clear()
    assert go_on.is_set()
    assert ended(dispatcher) == [("s", "0", "delivered")], "reported before clearing has ended"
    assert dispatcher.depth("s") == 0


def test_an_empty_queue_has_nothing_left_to_report(start: Starting) -> None:
    """Offsets are committed after a drain: a message must not leave the queue before its outcome is reported."""
    dispatcher = start({"s": Scripted()})
    for number in range(200):
        dispatcher.submit(page(str(number)), ["s"], number)
        while dispatcher.depth("s"):
            pass
        assert ended(dispatcher) == [("s", str(number), "delivered")]


def test_a_sink_that_repeats_does_so_on_its_own_timer(start: Starting) -> None:
    clock, scripted = Clock(), Scripted()
    scripted.refresh_s = 60.0
    start({"s": scripted}, clock=clock)
    for times in range(1, 4):
        clock.now_s += 60.0
        eventually(lambda times=times: scripted.refreshed == times)


def test_an_alertmanager_is_sent_what_is_open_again_with_the_same_labels(start: Starting) -> None:
    clock = Clock()
    with receiver() as server:
        dispatcher = start({"am": sink("alertmanager", server.url)}, clock=clock)
        dispatcher.submit(page(), ["am"], 0)
        assert dispatcher.drain(5.0)
        for times in range(2, 5):
            clock.now_s += 60.0
            eventually(lambda times=times: len(server.requests) == times)
    assert len({str(body[0]["labels"]) for body in server.bodies()}) == 1


def test_stopping_closes_sinks_and_leaves_what_waits(start: Starting) -> None:
    scripted = Scripted(lambda _: Outcome("retry", "no"))
    dispatcher = start({"s": scripted})
    dispatcher.submit(page(), ["s"], 0)
    eventually(lambda: scripted.received)
    assert not dispatcher.drain(0.2)
    dispatcher.stop()
    assert scripted.closed
    assert ended(dispatcher) == []
    assert not dispatcher.alive()
