"""Vectors as rows of small whole numbers: codes, rings, pairs, and their parts for a checkpoint."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from leeboard.detectors.vector import store as stores
from leeboard.detectors.vector.store import CHUNK_ROWS, CONDITIONING, FIT_EVENTS, RESIDUALS, ROWS, VECTORS
from leeboard.pipelines.watch.texts.store_parts import put_store, stored_parts

SEED = 5


def quantiser_for(values: npt.NDArray[np.float64]) -> Any:
    quantiser = np.zeros(1, stores.quantiser_dtype(1))[0]
    stores.fit_coordinate(quantiser, 0, values.astype(np.float32))
    return quantiser


def codes_of(quantiser: Any, values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.array([stores.code(quantiser["edges"][0], np.float32(x)) for x in values], float)


@pytest.mark.parametrize("law", ["normal", "lognormal", "cauchy"])
def test_codes_are_normal_scores_whatever_the_law(law: str) -> None:
    rng = np.random.default_rng(SEED)
    draw = {"normal": rng.standard_normal, "lognormal": lambda n: rng.lognormal(3, 2, n), "cauchy": rng.standard_cauchy}
    quantiser = quantiser_for(draw[law](FIT_EVENTS))
    codes = codes_of(quantiser, draw[law](5000)) / stores.CODE_STEPS
    assert abs(codes.mean()) < 0.2
    assert 0.85 < codes.std() < 1.1
    assert np.abs(codes).max() * stores.CODE_STEPS == stores.LARGEST_CODE


def test_ties_lie_in_the_middle_of_their_ranks_and_a_constant_is_zero() -> None:
    quantiser = quantiser_for(np.repeat([0.0, 1.0], [FIT_EVENTS // 2] * 2))
    low, high = codes_of(quantiser, np.array([0.0, 1.0]))
    assert low < 0 < high
    assert abs(low + high) <= 2
    assert quantiser["varying"] == 1
    constant = quantiser_for(np.full(FIT_EVENTS, 3.5))
    assert codes_of(constant, np.array([3.5])) == [0.0]
    assert codes_of(constant, np.array([3.4, 3.6])).tolist() == [-stores.LARGEST_CODE, stores.LARGEST_CODE]
    assert constant["varying"] == 0


def test_larger_values_never_have_smaller_codes() -> None:
    rng = np.random.default_rng(SEED)
    quantiser = quantiser_for(np.round(rng.lognormal(0, 1, FIT_EVENTS), 1))
    assert (np.diff(codes_of(quantiser, np.sort(rng.lognormal(0, 1.5, 500)))) >= 0).all()


def filled(events: int, *, unpaired: int = 7) -> Any:
    """A store whose quantisers are fitted from the start; every `unpaired`-th vector has no conditioning vector."""
    store = np.zeros(1, stores.store_dtype(3, 2))[0]
    store["quantiser"]["fitted"], store["conditioning_quantiser"]["fitted"] = 1, 1
    for call in range(1, events + 1):
        grow(store, call, paired=call % unpaired != 0)
    return store


def grow(store: Any, call: int, *, paired: bool) -> None:
    rng = np.random.default_rng([SEED, call])
    given = store["conditioning"]
    if paired:
        slot = stores.next_row(given, call)
        given["codes"][slot] = rng.integers(-67, 68, 2)
    slot = stores.next_row(store["ring"], call)
    store["ring"]["codes"][slot] = rng.integers(-67, 68, 3)
    if paired:
        store["ring"]["partners"][slot] = given["events"] - 1
    stores.pair_newest(store, call)


def test_a_ring_holds_the_newest_rows_and_pairs_find_both_halves() -> None:
    store = filled(3000)
    assert stores.seen(store, VECTORS) == 3000
    assert stores.seen(store, CONDITIONING) == stores.seen(store, RESIDUALS) == 3000 - 3000 // 7
    assert stores.oldest(store, VECTORS) == 3000 - ROWS
    for kind in (VECTORS, CONDITIONING, RESIDUALS):
        for event in (stores.oldest(store, kind), stores.seen(store, kind) - 1):
            call = stores.index_of(store, kind, event)
            rng = np.random.default_rng([SEED, call])
            given = rng.integers(-67, 68, 2) if call % 7 else None
            vector = rng.integers(-67, 68, 3)
            expected = given if kind == CONDITIONING else vector
            assert expected is not None
            assert stores.vector_of(store, kind, event).tolist() == expected.tolist()
            if kind == RESIDUALS:
                assert given is not None
                assert stores.conditioning_of(store, event).tolist() == given.tolist()


def test_pairs_whose_conditioning_vector_has_left_the_ring_are_none() -> None:
    """Conditioning vectors come without vectors for longer than their ring."""
    store = filled(100)
    for call in range(101, 101 + ROWS):
        stores.next_row(store["conditioning"], call)
    assert stores.oldest(store, RESIDUALS) == stores.seen(store, RESIDUALS)


def test_a_store_is_the_same_after_its_parts_were_read_back() -> None:
    for events in (0, 1, CHUNK_ROWS, 2500):
        store = filled(events)
        restored = np.zeros(1, store.dtype)[0]
        put_store(restored, stored_parts(store))
        assert restored.tobytes() == store.tobytes()


def test_parts_since_a_call_are_those_that_changed() -> None:
    store = filled(2500)
    parts = stored_parts(store)
    for call in range(2501, 2551):
        grow(store, call, paired=call % 7 != 0)
    changed = stored_parts(store, 2500)
    assert "coders" not in changed
    assert 2 <= len(changed) <= 7
    assert sum(map(len, changed.values())) < sum(map(len, parts.values())) / 2
    assert stored_parts(store, 2550).keys() == {"counts"}
    restored = np.zeros(1, store.dtype)[0]
    put_store(restored, parts | changed)
    assert restored.tobytes() == store.tobytes()


def test_parts_that_are_missing_or_damaged_are_refused() -> None:
    parts = stored_parts(filled(500))
    for name in parts:
        for wrong in ({k: v for k, v in parts.items() if k != name}, parts | {name: parts[name][:-1]}):
            with pytest.raises(ValueError, match=name):
                put_store(np.zeros(1, stores.store_dtype(3, 2))[0], wrong)
