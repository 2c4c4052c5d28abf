"""Offsets: nothing is committed before every sink is done with it, and nothing done is told again."""

from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from leeboard.pipelines.notify.feed.progress import Metadata, Progress, read_metadata
from leeboard.pipelines.notify.settings import MAX_SINKS

SINKS = ("a", "b", "c")


def test_the_offset_is_that_of_the_slowest_sink_and_the_rest_stands_beside_it() -> None:
    progress = Progress(SINKS, 10, {})
    assert progress.committable() == (10, {})
    assert progress.take(10, ["a", "b"]) == ["a", "b"]
    assert progress.take(12, ["a", "c"]) == ["a", "c"]
    progress.settle(10, "b")
    assert progress.committable() == (10, {"b": 13, "c": 12})
    progress.settle(12, "a")
    assert progress.committable() == (10, {"b": 13, "c": 12}), "10 is not done"
    progress.settle(10, "a")
    assert progress.committable() == (12, {"a": 13, "b": 13})
    progress.settle(12, "c")
    progress.reach(15)
    assert progress.committable() == (15, {}), "the marks of transactions count as taken"


def test_a_restart_tells_no_sink_what_it_was_told() -> None:
    progress = Progress(SINKS, 10, {"b": 13, "gone": 99})
    assert progress.take(10, ["a", "b"]) == ["a"]
    assert progress.take(13, ["a", "b"]) == ["a", "b"]


def test_what_something_else_wrote_beside_an_offset_counts_as_nothing() -> None:
    for text in ("", "x", "[]", '{"ahead": 3}', "\ud800"):
        assert read_metadata(text) == Metadata()


def test_metadata_fits_beside_an_offset() -> None:
    ahead = {f"{number:032d}": 2**62 for number in range(MAX_SINKS + 1)}
    text = msgspec.json.encode(Metadata(at=2**33, open=["stalled", "unreachable"], ahead=ahead)).decode()
    assert len(text.encode()) < 4096, "Kafka's offset.metadata.max.bytes"
    assert read_metadata(text).ahead == ahead


@given(data=st.data(), records=st.lists(st.sets(st.sampled_from(SINKS)), max_size=12))
def test_whenever_it_dies_every_sink_is_told_everything_and_the_settled_only_once(
    data: Any, records: list[set[str]]
) -> None:
    """Take and settle in any order, die at any moment after a commit, start again from what was committed."""
    told: dict[str, list[int]] = {name: [] for name in SINKS}
    committed: tuple[int, dict[str, int]] = (0, {})
    for _ in range(data.draw(st.integers(1, 4))):
        progress = Progress(SINKS, *committed)
        waiting: list[tuple[int, str]] = []
        settled: set[tuple[int, str]] = set()
        offset = committed[0]
        for _ in range(data.draw(st.integers(0, 40))):
            if waiting and data.draw(st.booleans()):
                done = data.draw(
                    st.sampled_from([w for w in waiting if w[0] == min(o for o, s in waiting if s == w[1])])
                )
                waiting.remove(done)
                told[done[1]].append(done[0])
                settled.add(done)
                progress.settle(*done)
            elif offset < len(records):
                waiting += [(offset, name) for name in progress.take(offset, sorted(records[offset]))]
                offset += 1
            committed = progress.committable()
            assert not [w for w in waiting if w[0] < committed[1].get(w[1], committed[0])], "not done, yet committed"
    progress = Progress(SINKS, *committed)
    for offset in range(committed[0], len(records)):
        for name in progress.take(offset, sorted(records[offset])):
            told[name].append(offset)
            progress.settle(offset, name)
    assert progress.committable() == (len(records), {})
    for name in SINKS:
        assert told[name] == [offset for offset, names in enumerate(records) if name in names], "once, and in order"
