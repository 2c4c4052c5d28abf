"""Offsets: nothing is committed before every sink is done with it, and nothing that is done is sent again."""

from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from leeboard.pipelines.notify.feed.progress import DeliveryProgress, OffsetMetadata, read_metadata
from leeboard.pipelines.notify.settings import MAX_SINKS

SINKS = ("a", "b", "c")


def test_the_offset_is_that_of_the_slowest_sink_and_the_rest_stands_beside_it() -> None:
    progress = DeliveryProgress(SINKS, 10, {})
    assert progress.committable() == (10, {})
    assert progress.accept(10, ["a", "b"]) == ["a", "b"]
    assert progress.accept(12, ["a", "c"]) == ["a", "c"]
    progress.complete(10, "b")
    assert progress.committable() == (10, {"b": 13, "c": 12})
    progress.complete(12, "a")
    assert progress.committable() == (10, {"b": 13, "c": 12}), "10 is not done"
    progress.complete(10, "a")
    assert progress.committable() == (12, {"a": 13, "b": 13})
    progress.complete(12, "c")
    progress.advance(15)
    assert progress.committable() == (15, {}), "the markers of transactions count as accepted"


def test_a_restart_repeats_to_no_sink_what_it_had() -> None:
    progress = DeliveryProgress(SINKS, 10, {"b": 13, "gone": 99})
    assert progress.accept(10, ["a", "b"]) == ["a"]
    assert progress.accept(13, ["a", "b"]) == ["a", "b"]


def test_what_something_else_wrote_beside_an_offset_counts_as_nothing() -> None:
    for text in ("", "x", "[]", '{"ahead": 3}', "\ud800"):
        assert read_metadata(text) == OffsetMetadata()


def test_metadata_fits_beside_an_offset() -> None:
    ahead = {f"{number:032d}": 2**62 for number in range(MAX_SINKS + 1)}
    text = msgspec.json.encode(OffsetMetadata(at=2**33, open=["stalled", "unreachable"], ahead=ahead)).decode()
    assert len(text.encode()) < 4096, "Kafka's offset.metadata.max.bytes"
    assert read_metadata(text).ahead == ahead


@given(data=st.data(), records=st.lists(st.sets(st.sampled_from(SINKS)), max_size=12))
def test_whenever_it_dies_every_sink_gets_everything_and_what_is_committed_only_once(
    data: Any, records: list[set[str]]
) -> None:
    """Accept and complete in any order, die at any moment after a commit, restart from what was committed."""
    received: dict[str, list[int]] = {name: [] for name in SINKS}
    committed: tuple[int, dict[str, int]] = (0, {})
    for _ in range(data.draw(st.integers(1, 4))):
        progress = DeliveryProgress(SINKS, *committed)
        waiting: list[tuple[int, str]] = []
        offset = committed[0]
        for _ in range(data.draw(st.integers(0, 40))):
            if waiting and data.draw(st.booleans()):
                done = data.draw(
                    st.sampled_from([w for w in waiting if w[0] == min(o for o, s in waiting if s == w[1])])
                )
                waiting.remove(done)
                received[done[1]].append(done[0])
                progress.complete(*done)
            elif offset < len(records):
                waiting += [(offset, name) for name in progress.accept(offset, sorted(records[offset]))]
                offset += 1
            committed = progress.committable()
            assert not [w for w in waiting if w[0] < committed[1].get(w[1], committed[0])], "not done, yet committed"
    progress = DeliveryProgress(SINKS, *committed)
    for offset in range(committed[0], len(records)):
        for name in progress.accept(offset, sorted(records[offset])):
            received[name].append(offset)
            progress.complete(offset, name)
    assert progress.committable() == (len(records), {})
    for name in SINKS:
        assert received[name] == [offset for offset, names in enumerate(records) if name in names], "once, and in order"
