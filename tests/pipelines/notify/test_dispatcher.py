"""At least once, in order within an incident, and no sink delayed by another."""

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from leeboard.pipelines.notify.delivery.dispatcher import Dispatcher
from leeboard.pipelines.notify.delivery.worker import MAX_QUEUE, Item, Pace
from leeboard.pipelines.notify.messages.message import Message
from leeboard.pipelines.notify.sinks import DELIVERED, Outcome, Sink

from .receivers import ACCEPTED, Answer, always, eventually, in_turn, receiver
from .records import notice, page
from .sinks import sink

QUICK = Pace(retry_s=30.0, first_s=0.02, most_s=0.05)


class Log:
    """What a dispatcher says."""

    def __init__(self) -> None:
        self.settled: list[tuple[str, str, str]] = []
        self.reasons: list[str] = []
        self.attempts: list[tuple[str, str]] = []

    def settle(self, item: Item, name: str, outcome: Outcome) -> None:
        self.settled.append((name, str(item.ticket), outcome.result))
        self.reasons.append(outcome.reason)

    def attempted(self, name: str, outcome: Outcome, seconds: float) -> None:
        assert seconds >= 0.0
        self.attempts.append((name, outcome.result))


class Scripted(Sink):
    """Answers as it is told; keeps what it was given."""

    def __init__(self, answering: Callable[[Message], Outcome] = lambda _: DELIVERED) -> None:
        self.answering = answering
        self.told: list[tuple[str, str]] = []
        self.closed = False

    def deliver(self, message: Message) -> Outcome:
        self.told.append((message.key, message.status))
        return self.answering(message)

    def close(self) -> None:
        self.closed = True


Starting = Callable[..., tuple[Dispatcher, Log]]


@pytest.fixture
def start() -> Iterator[Starting]:
    made: list[Dispatcher] = []

    def begin(
        sinks: dict[str, Sink], pace: Pace = QUICK, may_send: Callable[[], bool] = lambda: True
    ) -> tuple[Dispatcher, Log]:
        log = Log()
        dispatcher = Dispatcher(sinks, pace, log.settle, log, may_send)
        made.append(dispatcher)
        dispatcher.start()
        return dispatcher, log

    yield begin
    for dispatcher in made:
        dispatcher.stop()


def test_every_sink_settles_every_message_once(start: Starting) -> None:
    with receiver(always(ACCEPTED)) as server:
        kinds = ("pagerduty", "webhook", "alertmanager")
        dispatcher, log = start({kind: sink(kind, server.url) for kind in kinds})
        for number in range(20):
            dispatcher.submit(page(str(number)), kinds, number)
        assert dispatcher.drain(10.0)
    assert sorted(log.settled) == sorted((kind, str(number), "delivered") for kind in kinds for number in range(20))


def test_the_order_within_an_incident_is_kept_whatever_fails(start: Starting) -> None:
    fails = iter([True, False, True, True, False] * 20)
    told: list[str] = []

    def answering(request: Any) -> Answer:
        if next(fails):
            return Answer(503)
        told.append(f"{request.json['page_key']} {request.json['status']}")
        return Answer()

    with receiver(answering) as server:
        go = threading.Event()
        dispatcher, _ = start({"hook": sink("webhook", server.url)}, may_send=go.is_set)
        for status in ("trigger", "update", "resolve"):
            for key in "abc":
                dispatcher.submit(page(key, status), ["hook"], 0)
        go.set()
        assert dispatcher.drain(10.0)
    for key in "abc":
        assert [line for line in told if line.startswith(key)] == [
            f"{key} {s}" for s in ("trigger", "update", "resolve")
        ]


@pytest.mark.parametrize("answer", [Answer(500), Answer(0), Answer(200, after_s=3.0)], ids=["broken", "cut", "slow"])
def test_a_broken_sink_delays_no_other(start: Starting, answer: Answer) -> None:
    with receiver(always(answer)) as bad, receiver() as good:
        sinks = {"bad": sink("webhook", bad.url, timeout_s=2.0), "good": sink("webhook", good.url)}
        dispatcher, log = start(sinks)
        began = time.monotonic()
        for number in range(30):
            dispatcher.submit(page(str(number)), sinks, number)
        eventually(lambda: len(good.requests) == 30)
        assert time.monotonic() - began < 1.5
        assert dispatcher.depth("bad") >= 29
        eventually(lambda: dispatcher.depth("good") == 0)
        assert {name for name, _, _ in log.settled} == {"good"}
        assert dispatcher.oldest_s("bad") is not None
        assert dispatcher.oldest_s("good") is None


def test_one_message_that_a_sink_cannot_stomach_does_not_hold_up_the_rest(start: Starting) -> None:
    poison = Scripted(lambda message: Outcome("retry", "no") if message.key == "poison" else DELIVERED)
    go = threading.Event()
    dispatcher, log = start({"s": poison}, may_send=go.is_set)
    for key in ("poison", "a", "poison", "b", "c"):
        dispatcher.submit(page(key), ["s"], key)
    go.set()
    eventually(lambda: len(log.settled) == 3)
    assert [ticket for _, ticket, _ in log.settled] == ["a", "b", "c"]
    assert dispatcher.depth("s") == 2


def test_a_sink_that_is_down_is_asked_once_a_pause_not_once_a_message(start: Starting) -> None:
    down = Scripted(lambda _: Outcome("retry", "no"))
    dispatcher, _ = start({"s": down}, Pace(retry_s=60.0, first_s=0.4, most_s=0.4))
    for number in range(100):
        dispatcher.submit(page(str(number)), ["s"], number)
    time.sleep(1.0)
    assert 1 <= len(down.told) <= 4


def test_a_pause_that_a_receiver_asks_for_is_kept(start: Starting) -> None:
    with receiver(in_turn(Answer(429, b"", {"Retry-After": "1"}), ACCEPTED)) as server:
        dispatcher, _ = start({"s": sink("pagerduty", server.url)})
        began = time.monotonic()
        dispatcher.submit(page(), ["s"], 0)
        assert dispatcher.drain(5.0)
        assert time.monotonic() - began >= 1.0


def test_pauses_double_up_to_a_limit_and_chance_has_no_part_in_them() -> None:
    pace = Pace(retry_s=60.0)
    assert [pace.pause_s(failures) for failures in (1, 2, 3, 6, 7, 10_000)] == [1.0, 2.0, 4.0, 32.0, 60.0, 60.0]


def test_a_message_that_no_one_takes_in_time_is_dropped_with_its_reason(start: Starting) -> None:
    with receiver(always(Answer(503))) as server:
        dispatcher, log = start({"s": sink("webhook", server.url)}, Pace(retry_s=0.3, first_s=0.05, most_s=0.1))
        dispatcher.submit(page(), ["s"], "t")
        eventually(lambda: log.settled)
        assert log.settled == [("s", "t", "dropped")]
        assert log.reasons[0].startswith("given up after ")
        assert log.reasons[0].endswith(" attempts: HTTP 503")
        assert 3 <= len(server.requests) <= 7
        server.answering = always(Answer())
        dispatcher.submit(page(status="resolve"), ["s"], "u")
        eventually(lambda: len(log.settled) == 2)
        assert log.settled[1] == ("s", "u", "delivered"), "what follows goes out"


def test_a_message_that_is_refused_for_good_is_dropped_at_once(start: Starting) -> None:
    with receiver(in_turn(Answer(400), Answer())) as server:
        dispatcher, log = start({"s": sink("webhook", server.url)})
        dispatcher.submit(page("a"), ["s"], 1)
        dispatcher.submit(page("b"), ["s"], 2)
        assert dispatcher.drain(5.0)
    assert log.settled == [("s", "1", "dropped"), ("s", "2", "delivered")]
    assert log.reasons[0] == "HTTP 400"


def test_pages_go_before_notices_but_a_page_that_fails_does_not_starve_them(start: Starting) -> None:
    scripted = Scripted(lambda message: Outcome("retry", "no") if message.key == "poison" else DELIVERED)
    go = threading.Event()
    dispatcher, log = start({"s": scripted}, may_send=go.is_set)
    for key in "ab":
        dispatcher.submit(notice(key), ["s"], f"notice {key}")
    for key in "cd":
        dispatcher.submit(page(key), ["s"], f"page {key}")
    dispatcher.submit(page("poison"), ["s"], "poison")
    go.set()
    eventually(lambda: len(log.settled) == 4)
    assert [ticket for _, ticket, _ in log.settled] == ["page c", "page d", "notice a", "notice b"]


def test_a_defect_in_a_sink_is_tried_again_and_ends_as_a_dead_letter(start: Starting) -> None:
    def defect(_: Message) -> Outcome:
        raise KeyError("sentence of a record")

    dispatcher, log = start({"s": Scripted(defect)}, Pace(retry_s=0.1, first_s=0.05, most_s=0.05))
    dispatcher.submit(page(), ["s"], 0)
    eventually(lambda: log.settled)
    assert log.reasons[0].endswith("defect: KeyError")
    assert dispatcher.alive()


def test_a_queue_has_room_for_each_stream_by_itself(start: Starting) -> None:
    go = threading.Event()
    dispatcher, _ = start({"a": Scripted(), "b": Scripted()}, may_send=go.is_set)
    for number in range(MAX_QUEUE):
        dispatcher.submit(notice(str(number)), ["a"], number)
    assert (dispatcher.room("notices"), dispatcher.room("pages")) == (0, MAX_QUEUE)
    go.set()
    assert dispatcher.drain(10.0)
    assert dispatcher.room("notices") == MAX_QUEUE


def test_nothing_is_sent_while_held_and_nothing_old_after_forgetting(start: Starting) -> None:
    scripted = Scripted()
    go = threading.Event()
    dispatcher, log = start({"s": scripted}, may_send=go.is_set)
    dispatcher.submit(page("old"), ["s"], 0)
    time.sleep(0.3)
    dispatcher.forget()
    go.set()
    dispatcher.submit(page("new"), ["s"], 1)
    assert dispatcher.drain(5.0)
    assert scripted.told == [("new", "trigger")]
    assert [ticket for _, ticket, _ in log.settled] == ["1"]


def test_an_attempt_that_is_being_made_ends_before_forgetting_does(start: Starting) -> None:
    busy, go_on = threading.Event(), threading.Event()

    def answering(_: Message) -> Outcome:
        busy.set()
        go_on.wait(5.0)
        return DELIVERED

    dispatcher, log = start({"s": Scripted(answering)})
    dispatcher.submit(page(), ["s"], 0)
    assert busy.wait(5.0)
    threading.Timer(0.2, go_on.set).start()
    dispatcher.forget()
    assert go_on.is_set()
    count = len(log.settled)
    time.sleep(0.1)
    assert len(log.settled) == count
    assert dispatcher.depth("s") == 0


def test_an_empty_queue_is_a_settled_one(start: Starting) -> None:
    """Offsets are committed after a drain: a message must not leave the queue before it is settled."""
    late: list[int] = []

    def settled(item: Item, name: str, outcome: Outcome) -> None:
        time.sleep(0.2)
        late.append(1)

    log = Log()
    dispatcher = Dispatcher({"s": Scripted()}, QUICK, settled, log)
    dispatcher.start()
    dispatcher.submit(page(), ["s"], 0)
    assert dispatcher.drain(5.0)
    assert late == [1]
    dispatcher.stop()


def test_a_sink_that_tells_again_does_so_on_its_own_timer(start: Starting) -> None:
    with receiver() as server:
        made = sink("alertmanager", server.url)
        made.refresh_s = 0.3
        dispatcher, _ = start({"am": made})
        dispatcher.submit(page(), ["am"], 0)
        eventually(lambda: len(server.requests) >= 4)
    assert len({str(body[0]["labels"]) for body in server.bodies()}) == 1


def test_stopping_closes_sinks_and_leaves_what_waits(start: Starting) -> None:
    scripted = Scripted(lambda _: Outcome("retry", "no"))
    dispatcher, log = start({"s": scripted})
    dispatcher.submit(page(), ["s"], 0)
    eventually(lambda: scripted.told)
    assert not dispatcher.drain(0.2)
    dispatcher.stop()
    assert scripted.closed
    assert log.settled == []
    assert not dispatcher.alive()
