"""The fold over one partition takes the state of another build over: what it writes then, what it counts and says."""

import logging

import pytest
from leeboard.detectors.numeric.changes import NumericChanges
from leeboard.detectors.vector.changes import DirectionChanges
from leeboard.pipelines.runtime.fold import BEYOND_ALL_OFFSETS, OutgoingRecord
from leeboard.pipelines.runtime.watch import PART_SEPARATOR, WatchFold
from leeboard.pipelines.topics import TopicSettings
from leeboard.pipelines.watch.settings import EngineSettings
from leeboard.pipelines.watch.texts.bank import TextBank
from leeboard.schemas import Observation, encode_observation

from tests.detectors.texts import made_up
from tests.simulation.world import Record

from .streams import Traffic
from .text_calls import text_calls

TOPICS = TopicSettings()
SCOPE = "/shop/default/answer"
State = dict[bytes, bytes | None]


def new_fold() -> WatchFold:
    return WatchFold(EngineSettings(), TOPICS, 3)


def fed(fold: WatchFold, calls: list[Observation]) -> State:
    """What a fold writes after these calls: all that was changed."""
    first = fold.next or 0
    if fold.next is None:
        fold.begin(0, 0)
    fold.apply([Record(first + k, call.scope.encode(), encode_observation(call)) for k, call in enumerate(calls)])
    return written([*fold.publish(), *fold.state(BEYOND_ALL_OFFSETS, 1 << 30)])


def written(sends: list[OutgoingRecord]) -> State:
    return {send.key or b"": send.value for send in sends if send.topic == TOPICS.state}


def parts_of(state: State) -> set[str]:
    return {
        key.decode().rpartition(PART_SEPARATOR)[2]
        for key, value in state.items()
        if value is not None and key[:1] != b"#"
    }


@pytest.fixture(scope="module")
def calls() -> list[Observation]:
    """Calls without texts, then some with."""
    traffic = Traffic()
    return [*traffic.take(260), *text_calls(*made_up(150, 1), first=260), *traffic.take(100)]


def test_a_scope_of_another_build_is_written_anew_with_all_its_parts(
    calls: list[Observation], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Parts of two builds never stand beside each other, and nothing is left of parts that it no longer has."""
    state = fed(new_fold(), calls[:420])
    assert {"scope", "signals", "detectors", "ring.0", "ring.1", "ids.0", "texts", "warm_up.0"} <= parts_of(state)

    same = new_fold()
    same.restore(state.items())
    assert parts_of(fed(same, calls[420:421])) == {"scope", "detectors", "ring.1", "ids.0", "texts"}

    monkeypatch.setattr(NumericChanges, "version", 2)
    monkeypatch.setattr(TextBank, "version", 2)
    other = new_fold()
    with caplog.at_level(logging.WARNING, "leeboard"):
        other.restore(state.items())
    [line] = caplog.messages
    assert "partition 3: of 1 restored scopes" in line and "baselines are dropped" in line
    counts = other.take_counts()
    assert counts["signals_dropped"] >= 6 and counts["signals_new"] == 0
    assert not any(other.take_counts().values())
    news = fed(other, calls[420:421])
    assert {"scope", "signals", "detectors", "ring.0", "ring.1", "ids.0"} == parts_of(news)
    gone = {key for key, value in news.items() if value is None}
    assert {f"{SCOPE}{PART_SEPARATOR}texts".encode(), f"{SCOPE}{PART_SEPARATOR}warm_up.0".encode()} <= gone

    newest = {**state, **news}
    again = new_fold()
    again.restore(newest.items())
    assert not any(again.take_counts().values())
    assert again.engine.snapshot(SCOPE) == other.engine.snapshot(SCOPE)
    assert parts_of(fed(again, calls[421:422])) == {"scope", "detectors", "ring.1", "ids.0"}


def test_a_scope_that_gets_no_call_is_written_anew_as_well(
    calls: list[Observation], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or the release after the next one would find what it cannot read."""
    quiet = Traffic(route="quiet").take(40)
    state = fed(new_fold(), [*quiet, *calls[:100]])
    monkeypatch.setattr(DirectionChanges, "version", 2)
    other = new_fold()
    other.restore(state.items())
    assert other.oldest_change() == other.base == 140
    news = fed(other, calls[100:101])
    assert f"{quiet[0].scope}{PART_SEPARATOR}signals".encode() in news
    assert other.oldest_change() == BEYOND_ALL_OFFSETS


def test_a_build_that_reads_what_it_wrote_says_nothing(
    calls: list[Observation], caplog: pytest.LogCaptureFixture
) -> None:
    state = fed(new_fold(), calls[:300])
    fold = new_fold()
    with caplog.at_level(logging.INFO, "leeboard"):
        fold.restore(state.items())
    assert not caplog.messages and not any(fold.take_counts().values())
