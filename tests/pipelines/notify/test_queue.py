"""The queue of a sink, with time as an argument: order within an incident, pauses, what is given up."""

from collections.abc import Callable

import pytest
from leeboard.pipelines.notify.delivery.queue import MAX_QUEUE, Backoff, QueuedMessage, SinkQueue
from leeboard.pipelines.notify.messages.message import Message
from leeboard.pipelines.notify.sinks import DELIVERED, Outcome

from .records import notice, page

BACKOFF = Backoff(retry_s=60.0)
RETRY = Outcome("retry", "HTTP 503")


def filled(*messages: tuple[str, Message], backoff: Backoff = BACKOFF, now_s: float = 0.0) -> SinkQueue:
    queue = SinkQueue(backoff)
    for ticket, message in messages:
        queue.put(QueuedMessage(message, ticket, now_s, 1_800_000_000.0 + now_s))
    return queue


def play(
    queue: SinkQueue, answer: Callable[[str], Outcome], until_s: float, step_s: float = 0.5
) -> tuple[list[tuple[float, str]], list[tuple[str, Outcome]]]:
    """Attempts as they fall due: (when, ticket) of each, and what ended how."""
    attempts: list[tuple[float, str]] = []
    ends: list[tuple[str, Outcome]] = []
    now_s = 0.0
    while now_s < until_s:
        item = queue.next_due(now_s)
        if item is None:
            now_s += step_s
            continue
        assert queue.holds(item)
        attempts.append((now_s, str(item.ticket)))
        for ended, outcome in queue.note_outcome(item, answer(str(item.ticket)), now_s):
            ends.append((str(ended.ticket), outcome))
            queue.remove(ended)
    return attempts, ends


def test_what_is_taken_goes_out_in_order_pages_before_notices() -> None:
    queue = filled(("n", notice("n")), ("a", page("a")), ("b", page("b")))
    attempts, ends = play(queue, lambda _: DELIVERED, 1.0)
    assert attempts == [(0.0, "a"), (0.0, "b"), (0.0, "n")]
    assert [outcome for _, outcome in ends] == [DELIVERED] * 3
    assert (queue.depth("pages"), queue.depth("notices"), queue.oldest_s()) == (0, 0, None)


def test_a_receiver_that_is_down_is_asked_once_a_pause_not_once_a_message() -> None:
    queue = filled(*((str(number), page(str(number))) for number in range(100)))
    attempts, ends = play(queue, lambda _: RETRY, 32.0)
    assert [at_s for at_s, _ in attempts] == [0.0, 1.0, 3.0, 7.0, 15.0, 31.0]
    assert len({ticket for _, ticket in attempts}) == len(attempts), "each time another message"
    assert ends == [] and queue.depth("pages") == 100


def test_pauses_double_up_to_a_limit_and_start_again_after_a_success() -> None:
    assert [BACKOFF.pause_s(failures) for failures in (1, 2, 3, 6, 7, 10_000)] == [1.0, 2.0, 4.0, 32.0, 60.0, 60.0]
    queue = filled(("a", page("a")), ("b", page("b")))
    answers = iter([RETRY, RETRY, DELIVERED, RETRY, DELIVERED])
    attempts, _ = play(queue, lambda _: next(answers), 10.0)
    assert attempts == [(0.0, "a"), (1.0, "b"), (3.0, "a"), (3.0, "b"), (4.0, "b")]


def test_a_pause_that_a_receiver_asks_for_is_kept() -> None:
    queue = filled(("a", page("a")))
    answers = iter([Outcome("retry", "HTTP 429", after_s=30.0), DELIVERED])
    attempts, _ = play(queue, lambda _: next(answers), 40.0)
    assert attempts == [(0.0, "a"), (30.0, "a")]


def test_one_message_that_a_receiver_never_takes_does_not_hold_up_the_rest() -> None:
    queue = filled(*((f"{key}{place}", page(key)) for place, key in enumerate(("poison", "a", "poison", "b", "c"))))
    _, ends = play(queue, lambda ticket: RETRY if ticket.startswith("poison") else DELIVERED, 10.0)
    assert [ticket for ticket, _ in ends] == ["a1", "b3", "c4"]
    assert queue.depth("pages") == 2


@pytest.mark.parametrize("failing", range(1, 8))
def test_the_order_within_an_incident_is_kept_whatever_fails(failing: int) -> None:
    statuses = ("trigger", "update", "resolve")
    queue = filled(*((f"{key} {status}", page(key, status)) for status in statuses for key in "abc"))
    count = iter(range(1000))
    _, ends = play(queue, lambda _: RETRY if next(count) % 8 < failing else DELIVERED, 1000.0, step_s=1.0)
    assert len(ends) == 9
    for key in "abc":
        mine = [(ticket, outcome.result) for ticket, outcome in ends if ticket[0] == key]
        assert [ticket for ticket, _ in mine] == [f"{key} {status}" for status in statuses], mine


def test_what_no_one_takes_in_time_is_dropped_with_its_reason_and_all_that_is_as_old() -> None:
    queue = filled(("a1", page("a")), ("a2", page("a", "resolve")), ("b", page("b")))
    attempts, ends = play(queue, lambda _: RETRY, 200.0)
    assert attempts[-1][0] == 63.0, "the first attempt that fails after its time"
    assert [ticket for ticket, _ in ends] == ["a1", "a2", "b"]
    assert {outcome.result for _, outcome in ends} == {"dropped"}
    assert ends[0][1].reason.startswith("given up after ") and ends[0][1].reason.endswith(" attempts: HTTP 503")
    assert ends[1][1].reason == "given up after 0 attempts: HTTP 503"


def test_a_message_that_is_refused_for_good_is_dropped_at_once_without_a_pause() -> None:
    queue = filled(("a", page("a")), ("b", page("b")))
    attempts, ends = play(queue, lambda ticket: Outcome("dropped", "HTTP 400") if ticket == "a" else DELIVERED, 1.0)
    assert attempts == [(0.0, "a"), (0.0, "b")]
    assert [(ticket, outcome.result) for ticket, outcome in ends] == [("a", "dropped"), ("b", "delivered")]


def test_a_page_that_fails_does_not_starve_the_notices() -> None:
    queue = filled(("n1", notice("n1")), ("n2", notice("n2")), ("poison", page("poison")))
    _, ends = play(queue, lambda ticket: RETRY if ticket == "poison" else DELIVERED, 30.0)
    assert [ticket for ticket, _ in ends] == ["n1", "n2"]


def test_clearing_forgets_what_waits_but_not_the_pause() -> None:
    queue = filled(("a", page("a")))
    item = queue.next_due(0.0)
    assert item is not None
    queue.note_outcome(item, RETRY, 0.0)
    queue.clear()
    assert not queue.holds(item)
    assert queue.depth("pages") == 0
    queue.put(QueuedMessage(page("b"), "b", 0.5, 0.0))
    assert queue.next_due(0.5) is None
    assert queue.next_due(1.0) is not None


def test_the_oldest_is_the_one_that_was_due_first() -> None:
    queue = filled(("a", page("a")), now_s=5.0)
    queue.put(QueuedMessage(page("b"), "b", 6.0, 1_700_000_000.0))
    assert queue.oldest_s() == 1_700_000_000.0
    assert MAX_QUEUE == 1000
