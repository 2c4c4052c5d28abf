"""Whole-number sums and Cholesky's method against NumPy."""

import numpy as np
import pytest
from leeboard.detectors.core import algebra as algebra
from leeboard.detectors.vector.store import LARGEST_CODE

SEED = 11


def positive_definite(n: int, rng: np.random.Generator) -> np.ndarray:
    half = rng.normal(0, 1, (2 * n, n))
    return np.asarray(half.T @ half / n + 0.1 * np.eye(n))


@pytest.mark.parametrize("n", [1, 2, 5, 82, 130])
def test_systems_of_equations_are_solved_as_numpy_solves_them(n: int) -> None:
    rng = np.random.default_rng(SEED)
    matrix, right = positive_definite(n, rng), rng.normal(0, 1, n)
    factor, x = matrix.copy(), right.copy()
    algebra.factorise(factor)
    algebra.solve(factor, x)
    assert np.tril(factor) == pytest.approx(np.linalg.cholesky(matrix))
    assert x == pytest.approx(np.linalg.solve(matrix, right))
    packed, y = np.zeros(n * (n + 1) // 2, np.float32), right.copy()
    algebra.pack_triangle(factor, packed)
    algebra.solve_packed(packed, y)
    # what is packed has 10 bits
    assert np.abs(y - x).max() < 0.02 * np.abs(x).max()


def test_a_matrix_that_is_hardly_positive_gives_numbers_all_the_same() -> None:
    matrix = np.ones((3, 3))
    algebra.factorise(matrix)
    x = np.array([1.0, 1.0, 1.0])
    algebra.solve(matrix, x)
    assert np.isfinite(x).all()


@pytest.mark.parametrize("n", [1, 3, 40])
def test_products_add_up(n: int) -> None:
    rng = np.random.default_rng(SEED)
    rows = rng.integers(-67, 68, (500, n)).astype(np.int32)
    products = np.zeros((n, n), np.int32)
    for row in rows:
        algebra.add_products(row, products)
    assert (products == np.tril(rows.T.astype(np.int64) @ rows)).all()


def test_weighted_sums_of_the_largest_codes_stay_within_their_bits() -> None:
    """Whatever the direction, weights and sums keep to 16 and 32 bits, a shifted sum to 16."""
    rng = np.random.default_rng(SEED)
    for direction in (rng.normal(0, 1, 164), np.ones(164), np.eye(164)[3], 1e-9 * rng.normal(0, 1, 164)):
        scale = algebra.SUM_LIMIT * 2.0**algebra.SUM_SHIFT / algebra.largest_sum(direction, LARGEST_CODE)
        weights, codes = np.zeros(164, np.int16), (LARGEST_CODE * np.where(direction < 0, -1, 1)).astype(np.int8)
        algebra.scale_to_sum(direction, scale, weights)
        assert (np.abs(weights - np.floor(direction * scale + 0.5)) < 1).all()
        exact = int(weights.astype(np.int64) @ codes.astype(np.int64))
        assert algebra.weighted_sum(weights, codes) == exact
        assert abs(exact >> algebra.SUM_SHIFT) < 2**15


def test_values_are_sorted() -> None:
    rng = np.random.default_rng(SEED)
    for values in (rng.normal(0, 1, 300), np.repeat([2.0, 1.0], 4), np.zeros(5), np.array([1.0]), np.arange(9.0)[::-1]):
        own = values.astype(np.float32)
        algebra.sort(own)
        assert (own == np.sort(values.astype(np.float32))).all()
