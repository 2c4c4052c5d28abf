"""All texts of a scope: batches, missing measures, restarts, state."""

import math
import zlib
from typing import Any

import numpy as np
import pytest
from leeboard.detectors.core.lifecycle import FIRED, LEVEL, NEXT, RETURNED
from leeboard.detectors.vector.store import CONDITIONING, FIT_EVENTS, VECTORS
from leeboard.pipelines.watch.texts.rows import (
    INPUT_FEATURES,
    INPUT_STYLE,
    INPUT_VECTOR,
    OUTPUT_FEATURES,
    OUTPUT_STYLE,
    TextBatch,
    chunks_needed,
)
from leeboard.pipelines.watch.texts.signals import (
    CONDITIONAL,
    CONTENT,
    DIRECTIONS,
    INPUT_PARTS,
    OUTPUT_PARTS,
    PARTS_CALL,
    SIGNALS,
    STYLE_COLUMN,
    is_degenerate,
    restart_inputs,
    restart_outputs,
)
from leeboard.pipelines.watch.texts.store_parts import stored_parts, warm_up_written

from tests.detectors.texts import Happening, TextScope, batch_of, hashes, made_up, part_of
from tests.realdata.texts import join

#: calls before a change, changed, and back again
BEFORE, CHANGED, BACK = 1000, 700, 800
CALLS = BEFORE + CHANGED + BACK
OUTPUT_SIGNALS = {SIGNALS[s] for s in (OUTPUT_PARTS, STYLE_COLUMN, CONDITIONAL)}


def life(moved: float = 2.0) -> TextBatch:
    """Outputs that change and return; inputs stay as they are."""
    parts = [made_up(n, seed, moved=shift) for n, seed, shift in ((BEFORE, 1, 0), (CHANGED, 2, moved), (BACK, 3, 0))]
    return batch_of(join(*(outputs for outputs, _ in parts)), join(*(inputs for _, inputs in parts)))


@pytest.fixture(scope="module")
def stream() -> TextBatch:
    return life()


def fed(batch: TextBatch, size: int = CALLS, **settings: Any) -> tuple[TextScope, list[Happening]]:
    """A scope that got the batch in batches of that size."""
    scope, n, found = TextScope(**settings), len(batch.measured), []
    for at in range(0, n, size):
        found += scope.feed(part_of(batch, at, min(at + size, n)), hashes(CALLS, 0)[at : min(at + size, n)])
    return scope, found


def test_a_change_of_outputs_is_found_paged_and_seen_to_return(stream: TextBatch) -> None:
    _, found = fed(stream, floor=0.2)
    for signal in sorted(OUTPUT_SIGNALS):
        own = [each for each in found if each.signal == signal]
        assert [each.code for each in own] == [FIRED, LEVEL, RETURNED], signal
        opened, paged, returned = own
        assert BEFORE < opened.call <= paged.call <= BEFORE + 200
        assert BEFORE + CHANGED < returned.call < BEFORE + CHANGED + 400
        assert opened.effect is not None
        assert opened.effect.effect > 0.5
        assert opened.change is not None
        assert opened.call - 1 - opened.change.earliest <= BEFORE <= opened.call - 1 - opened.change.latest
        assert abs(opened.call - 1 - opened.change.estimate - BEFORE) <= 25
    assert {each.signal for each in found} == OUTPUT_SIGNALS


@pytest.mark.parametrize("size", [1, 7, 300, 999])
def test_any_batching_gives_the_same_state_and_the_same_news(stream: TextBatch, size: int) -> None:
    whole, found = fed(stream)
    scope, own = fed(stream, size)
    assert own == found
    assert scope.parts() == whole.parts()


@pytest.mark.parametrize("cut", [0, 40, PARTS_CALL - 1, FIT_EVENTS - 1, FIT_EVENTS, 640, BEFORE + 150, BEFORE + 750])
def test_a_restored_scope_goes_on_as_if_nothing_had_happened(stream: TextBatch, cut: int) -> None:
    events = hashes(CALLS, 0)
    scope, _ = fed(part_of(stream, 0, cut)) if cut else (TextScope(), [])
    other = TextScope.restored(scope.parts())
    rest = part_of(stream, cut, CALLS), events[cut:]
    assert other.feed(*rest) == scope.feed(*rest)
    assert other.parts() == scope.parts()


def test_calls_without_texts_change_nothing(stream: TextBatch) -> None:
    scope, _ = fed(part_of(stream, 0, 700))
    before = scope.parts()
    nothing = part_of(stream, 700, 900)._replace(measured=np.zeros(200, np.uint8))
    assert scope.feed(nothing, hashes(200, 4)) == []
    assert scope.parts() | {"calls": b""} == before | {"calls": b""}


def only(batch: TextBatch, bits: int) -> TextBatch:
    return batch._replace(measured=batch.measured & np.uint8(bits))


def test_outputs_alone_have_their_two_signals(stream: TextBatch) -> None:
    alone, found = fed(only(stream, OUTPUT_FEATURES | OUTPUT_STYLE))
    assert {each.signal for each in found} == {SIGNALS[OUTPUT_PARTS], SIGNALS[STYLE_COLUMN]}
    both, _ = fed(stream)
    for s in (OUTPUT_PARTS, STYLE_COLUMN):
        assert alone.row(s).tobytes() == both.row(s).tobytes()
    assert alone.row(CONDITIONAL)["events"] == alone.row(CONTENT)["events"] == 0


def test_features_alone_have_theirs(stream: TextBatch) -> None:
    """As of texts too short for style and vector to be kept."""
    _, found = fed(only(stream, OUTPUT_FEATURES | INPUT_FEATURES))
    assert {each.signal for each in found} == {SIGNALS[OUTPUT_PARTS]}


def test_every_third_input_without_a_vector_is_left_out_of_vectors_only(stream: TextBatch) -> None:
    third = np.arange(CALLS) % 3 == 0
    bits = np.where(third, 255 - INPUT_VECTOR, 255).astype(np.uint8)
    scope, found = fed(stream._replace(measured=stream.measured & bits))
    whole, _ = fed(stream)
    assert scope.row(CONTENT)["events"] == scope.row(CONDITIONAL)["events"] == CALLS - int(third.sum())
    for s in (OUTPUT_PARTS, STYLE_COLUMN, INPUT_PARTS):
        assert scope.row(s).tobytes() == whole.row(s).tobytes()
    assert {each.signal for each in found} == OUTPUT_SIGNALS


def test_a_side_with_a_number_that_is_none_is_refused_and_counted(stream: TextBatch) -> None:
    features, scales = stream.output_features.copy(), stream.input_scales.copy()
    features[50, 3], features[800, 0], scales[810] = np.nan, np.inf, np.nan
    scope, _ = fed(stream._replace(output_features=features, input_scales=scales))
    assert scope.text["refused"] == 3
    assert scope.row(STYLE_COLUMN)["events"] == CALLS - 2
    assert scope.row(CONTENT)["events"] == CALLS - 1
    assert all(np.isfinite(np.frombuffer(scope.row(s)["wealth"].tobytes()[:96])).all() for s in DIRECTIONS)


def test_a_signal_that_is_switched_off_leaves_the_others_as_they_are(stream: TextBatch) -> None:
    whole, _ = fed(stream)
    scope = TextScope()
    scope.reserve = lambda: 1 << 60  # type: ignore[method-assign]
    at = 0
    for stop in (PARTS_CALL - 1, FIT_EVENTS - 1, CALLS):
        TextScope.reserve(scope)
        scope.rows[2 + STYLE_COLUMN] = scope.rows[2 + INPUT_PARTS] = -1
        scope.feed(part_of(stream, at, stop), hashes(CALLS, 0)[at:stop])
        at = stop
    for s in (OUTPUT_PARTS, CONDITIONAL, CONTENT):
        assert scope.row(s).tobytes() == whole.row(s).tobytes()


def test_another_embedder_is_another_baseline_and_no_alert(stream: TextBatch) -> None:
    """New vectors have nothing to do with old ones; what does not look at them goes on as if nothing had happened."""
    scope, _ = fed(part_of(stream, 0, 900))
    restart_inputs(scope.arenas, scope.rows, scope.chunks, scope.calls + 1, False, True)
    outputs, inputs = made_up(1500, 9)
    mixed = np.random.default_rng(1).permutation(inputs.vectors.shape[1])
    batch = batch_of(outputs, inputs._replace(vectors=np.ascontiguousarray(inputs.vectors[:, mixed])))
    unchanged = batch_of(outputs, inputs)
    other, _ = fed(part_of(stream, 0, 900))
    assert scope.feed(batch, hashes(1500, 1)) == []
    other.feed(unchanged, hashes(1500, 1))
    for s in (OUTPUT_PARTS, STYLE_COLUMN, INPUT_PARTS):
        assert scope.row(s).tobytes() == other.row(s).tobytes()
    assert scope.row(CONTENT)["events"] == scope.row(CONDITIONAL)["events"] == 1500
    assert chunks_needed(scope.text, scope.arenas.stores, 0, 1, 1) == 0


@pytest.mark.parametrize("calls", [150, 250, FIT_EVENTS, 400, 900])
def test_outputs_never_find_their_halves_among_the_vectors_of_another_embedder(stream: TextBatch, calls: int) -> None:
    scope, _ = fed(part_of(stream, 0, calls))
    restart_inputs(scope.arenas, scope.rows, scope.chunks, scope.calls + 1, False, True)
    scope.feed(batch_of(*made_up(500, 9)), hashes(500, 1))
    assert scope.row(CONTENT)["events"] == scope.row(CONDITIONAL)["events"] == 500
    assert all(index > calls for index in scope.store["conditioning"]["indices"][:500])


def test_another_way_of_counting_is_another_baseline_and_no_alert(stream: TextBatch) -> None:
    scope, _ = fed(part_of(stream, 0, 900))
    restart_outputs(scope.arenas, scope.rows, scope.chunks, scope.calls + 1, True)
    outputs, inputs = made_up(1500, 9)
    batch = batch_of(outputs._replace(features=5 + 100 * outputs.features, style=outputs.style[:, ::-1].copy()), inputs)
    assert scope.feed(batch, hashes(1500, 1)) == []
    assert scope.row(STYLE_COLUMN)["events"] == 1500


def test_a_change_that_is_open_at_a_restart_ends_without_a_word(stream: TextBatch) -> None:
    scope, _ = fed(part_of(stream, 0, BEFORE + 300))
    assert all(scope.is_open(s) for s in (OUTPUT_PARTS, STYLE_COLUMN, CONDITIONAL))
    restart_outputs(scope.arenas, scope.rows, scope.chunks, scope.calls + 1, True)
    assert not any(scope.is_open(s) for s in (OUTPUT_PARTS, STYLE_COLUMN, CONDITIONAL))
    assert scope.feed(part_of(stream, BEFORE + 300, BEFORE + CHANGED), hashes(CHANGED - 300, 5)) == []


def test_a_new_level_is_accepted_and_the_next_change_is_measured_from_it() -> None:
    plan = ((1000, 1, 0.0), (900, 2, 2.0), (400, 3, 5.0))
    parts = [made_up(n, seed, moved=shift) for n, seed, shift in plan]
    batch = batch_of(join(*(outputs for outputs, _ in parts)), join(*(inputs for _, inputs in parts)))
    scope, events = TextScope(), hashes(2300, 0)
    scope.feed(part_of(batch, 0, 1700), events[:1700])
    for s in (OUTPUT_PARTS, STYLE_COLUMN, CONDITIONAL):
        assert scope.is_open(s)
        scope.accept(s)
    assert scope.feed(part_of(batch, 1700, 1900), events[1700:1900]) == []
    found = scope.feed(part_of(batch, 1900, 2300), events[1900:])
    assert {each.signal for each in found if each.code == FIRED} == OUTPUT_SIGNALS


def test_a_second_change_on_top_of_an_open_one_is_the_next_one() -> None:
    plan = ((1000, 1, 0.0), (900, 2, 2.0), (400, 3, 6.0))
    parts = [made_up(n, seed, moved=shift) for n, seed, shift in plan]
    _, found = fed(batch_of(join(*(outputs for outputs, _ in parts)), join(*(inputs for _, inputs in parts))))
    later = [each for each in found if each.code == NEXT]
    assert {each.signal for each in later} == OUTPUT_SIGNALS
    assert all(1900 < each.call <= 1960 for each in later)
    by_signal = {each.signal: each for each in found if each.code == FIRED}
    for each in later:
        first = by_signal[each.signal]
        assert each.effect is not None and first.effect is not None
        assert each.effect.effect > first.effect.effect  # from before the first change


def test_a_quantiser_is_degenerate_when_its_coordinates_no_longer_vary(stream: TextBatch) -> None:
    scope, _ = fed(part_of(stream, 0, 1000))
    assert not is_degenerate(scope.store, VECTORS, 900)
    outputs, inputs = made_up(200, 5)
    outputs.style[:, :] = 0
    outputs.features[:, 4:] = -1.0
    scope.feed(batch_of(outputs, inputs), hashes(200, 6))
    assert is_degenerate(scope.store, VECTORS, 1000)
    assert not is_degenerate(scope.store, CONDITIONING, 1000)
    assert not is_degenerate(scope.store, VECTORS, 1180)  # too few to tell


def compressed(scope: TextScope, after_call: int = 0) -> float:
    """KB that a checkpoint writes."""
    parts = [scope.text.tobytes()]
    used = chunks_needed(scope.text, scope.arenas.stores, scope.rows[1], 0, 0)
    warm_up = [scope.arenas.warm_up[i] for i in scope.chunks[:used].tolist()]
    parts += [chunk.tobytes() for chunk in warm_up if warm_up_written(chunk) > after_call]
    for s in scope.bank.columns(0):
        parts += [part for part in scope.bank.changes(s).dump(scope.bank.row(0, s)) if part is not None]
    parts += stored_parts(scope.store, after_call).values() if scope.rows[1] >= 0 else []
    return sum(len(zlib.compress(part, 1)) for part in parts) / 1024


def test_the_state_of_a_scope_is_small_in_the_warm_up_and_bounded_when_it_is_busy(stream: TextBatch) -> None:
    warm_up, _ = fed(part_of(stream, 0, 100))
    assert compressed(warm_up) < 40
    busy, _ = fed(part_of(stream, 0, BEFORE + CHANGED))
    assert all(busy.is_open(s) for s in (OUTPUT_PARTS, STYLE_COLUMN, CONDITIONAL))
    assert compressed(busy) < 512
    assert compressed(busy, BEFORE + CHANGED - 100) < 0.85 * compressed(busy)
    whole = sum(len(part) for name, part in busy.parts().items() if not name.startswith("warm_up"))
    assert whole < 1.2e6  # with the rows of all watchers and frozen references


def test_levels_stand_for_calls_of_the_scope(stream: TextBatch) -> None:
    """A higher level is reached later, or never."""
    calls = []
    for level in (1e3, 1e5, 1e8):
        _, found = fed(part_of(stream, 0, BEFORE + CHANGED), nats=math.log(level), page_nats=math.log(1e9))
        calls.append(min(each.call for each in found if each.signal == SIGNALS[STYLE_COLUMN]))
    assert calls == sorted(calls)
    assert calls[0] < calls[2]


def test_the_bits_of_what_was_measured_are_distinct() -> None:
    bits = (OUTPUT_FEATURES, OUTPUT_STYLE, INPUT_FEATURES, INPUT_STYLE, INPUT_VECTOR)
    assert sum(bits) == 31
