"""The dead man's switch: silence while connected is one trouble, no broker is another, and both end."""

import pytest
from leeboard.pipelines.notify.feed.self_health import DeadManSwitch, TroubleTurn
from leeboard.pipelines.notify.messages.message import Message
from leeboard.pipelines.notify.messages.own import own_message
from leeboard.schemas import Page, decode_result, encode

AFTER_S = 900.0


def steps(switch: DeadManSwitch, *moments: tuple[float, str]) -> list[tuple[float, str, str]]:
    """Each moment: `+` connected, `-` not; `s` a summary has come. What turned when."""
    turned = []
    for now_s, what in moments:
        turns = switch.step(now_s, connected="+" in what, summaries="s" in what)
        turned += [(now_s, turn.trouble, turn.status) for turn in turns]
    return turned


def every(seconds: float, start: float, stop: float, what: str) -> list[tuple[float, str]]:
    count = int((stop - start) / seconds)
    return [(start + k * seconds, what) for k in range(count)]


def test_silence_is_reported_once_and_its_end_once() -> None:
    moments = [*every(10, 0, 100, "+s"), *every(10, 100, 3000, "+"), (3000.0, "+s"), *every(10, 3010, 3100, "+s")]
    assert steps(DeadManSwitch(AFTER_S, 0.0), *moments) == [
        (990.0, "stalled", "trigger"),
        (3000.0, "stalled", "resolve"),
    ]


def test_from_the_start_it_waits_its_whole_time() -> None:
    assert steps(DeadManSwitch(AFTER_S, 0.0), *every(10, 0, 900, "+")) == []


def test_time_without_a_broker_does_not_count_as_silence() -> None:
    moments = [(0.0, "+s"), *every(10, 10, 610, "+"), *every(10, 610, 1400, "-"), *every(10, 1400, 2000, "+")]
    turned = steps(DeadManSwitch(AFTER_S, 0.0), *moments)
    assert turned == [(1700.0, "stalled", "trigger")], "600 s before the gap, 300 s after it"


def test_no_broker_is_a_trouble_of_its_own() -> None:
    moments = [*every(10, 0, 100, "+s"), *every(10, 100, 1500, "-"), (1500.0, "+"), (1510.0, "+s")]
    assert steps(DeadManSwitch(AFTER_S, 0.0), *moments) == [
        (990.0, "unreachable", "trigger"),
        (1500.0, "unreachable", "resolve"),
    ]


def test_short_gaps_are_no_trouble() -> None:
    moments = [*every(10, 0, 800, "-"), (800.0, "+s"), *every(10, 810, 1600, "-"), (1600.0, "+s")]
    assert steps(DeadManSwitch(AFTER_S, 0.0), *moments) == []


def test_a_trouble_that_an_earlier_process_reported_is_resolved() -> None:
    switch = DeadManSwitch(AFTER_S, 0.0, ["stalled", "of a later version"])
    assert switch.open == {"stalled"}
    assert switch.step(1.0, connected=True, summaries=False) == []
    assert switch.step(2.0, connected=True, summaries=True) == [TroubleTurn("stalled", "resolve")]


@pytest.mark.parametrize("kind", ["stalled", "unreachable", "test"])
def test_a_message_about_leeboard_itself_is_a_page_that_any_receiver_can_read(kind: str) -> None:
    made: list[Message] = [
        own_message(kind, status, "fleet", 1_800_000_000_000, 15.0) for status in ("trigger", "resolve")
    ]  # type: ignore[arg-type]
    assert {message.key for message in made} == {f"leeboard_{kind}/fleet"}
    assert [message.status for message in made] == ["trigger", "resolve"]
    for message in made:
        assert isinstance(message.record, Page)
        assert decode_result(encode(message.record)) == message.record
        assert "15 minutes" in message.alert.verdict.sentence or kind == "test"
    assert own_message("test", "trigger", "other", 0).key != made[0].key, "two fleets are two"
