"""The usual law of a stream of vectors: mean and covariance, for RESIDUALS also the regression on what is given.

All are made of sums of products of whole numbers, which are exact. The covariance is shrunk halfway to a multiple of
the identity (Ledoit, Wolf 2004, with a fixed weight): with 300 vectors of 82 coordinates the plain one cannot be
inverted with profit.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
from leeboard.detectors.core.algebra import add_products, coarse, factorise, pack_triangle, solve
from leeboard.detectors.core.jit import Floats, Record, kernel

from .store import CODE_STEPS, RESIDUALS, given_of, vector_of

#: weight of the identity in the covariance
SHRINKAGE = 0.5
#: prior precision of a regression coefficient: as that of so many events ("what is given explains nothing")
RIDGE_EVENTS = 60.0


def fit_dtype(dimensions: int, given: int) -> list[tuple[Any, ...]]:
    """Fields of a fitted law."""
    return [
        ("mean", "f8", dimensions),
        ("given_mean", "f8", given),
        ("regression", "f4", (given, dimensions)),  # of a vector on what it is given
        ("factor", "f4", dimensions * (dimensions + 1) // 2),  # Cholesky factor of the covariance, row by row
    ]


@kernel
def add_moments(
    space: Record, kind: int, first: int, last: int, dimensions: int, products: npt.NDArray[np.int32]
) -> None:
    """Sums of products of the codes, followed by those of what is given, followed by a 1; lower triangle (n, n).

    At most 67^2 x 500 events: far from 2^31.
    """
    n = products.shape[0]
    joint = np.zeros(n, np.int32)
    joint[n - 1] = 1
    for event in range(first, last):
        codes = vector_of(space, kind, event)
        for j in range(dimensions):
            joint[j] = np.int32(codes[j])
        if kind == RESIDUALS:
            codes = given_of(space, event)
            for j in range(codes.size):
                joint[dimensions + j] = np.int32(codes[j])
        add_products(joint, products)


@kernel
def centred(products: npt.NDArray[np.int32], i: int, j: int, events: int) -> float:
    """Sum of products of the deviations from the means of codes i >= j."""
    last = products.shape[0] - 1
    total = np.int64(products[i, j]) * events - np.int64(products[last, i]) * np.int64(products[last, j])
    return np.float64(total) / events


@kernel
def fit(law: Record, space: Record, kind: int, first: int, last: int) -> None:
    """Learn mean, regression and covariance from events `first` to `last` - 1."""
    dimensions, given = law["mean"].size, law["given_mean"].size
    size = dimensions + 1 + (given if kind == RESIDUALS else 0)
    events = last - first
    products = np.zeros((size, size), np.int32)
    add_moments(space, kind, first, last, dimensions, products)
    for j in range(dimensions):
        law["mean"][j] = np.float64(products[size - 1, j]) / events
    scatter = np.zeros((dimensions, dimensions))
    for i in range(dimensions):
        for j in range(i + 1):
            scatter[i, j] = centred(products, i, j, events)
    if kind == RESIDUALS:
        for j in range(given):
            law["given_mean"][j] = np.float64(products[size - 1, dimensions + j]) / events
        regress(law, products, events, scatter)
    shrink(scatter, events)
    factorise(scatter)
    pack_triangle(scatter, law["factor"])


@kernel
def regress(law: Record, products: npt.NDArray[np.int32], events: int, scatter: Floats) -> None:
    """Ridge regression of the codes on what they are given; `scatter` becomes that of the residuals."""
    dimensions, given = law["mean"].size, law["given_mean"].size
    inner = np.zeros((given, given))
    cross = np.zeros((dimensions, given))
    for i in range(given):
        for j in range(i + 1):
            inner[i, j] = centred(products, dimensions + i, dimensions + j, events)
            inner[j, i] = inner[i, j]
        for j in range(dimensions):
            cross[j, i] = centred(products, dimensions + i, j, events)
    factor = inner.copy()
    for i in range(given):
        factor[i, i] += RIDGE_EVENTS * CODE_STEPS * CODE_STEPS
    factorise(factor)
    coefficients = cross.copy()
    for j in range(dimensions):
        solve(factor, coefficients[j])
        for i in range(given):
            coefficients[j, i] = coarse(coefficients[j, i])
            law["regression"][i, j] = coefficients[j, i]
    # (Z - XW)'(Z - XW) = Z'Z - W'X'Z - Z'XW + W'X'XW
    explained = np.zeros(given)
    for i in range(dimensions):
        for k in range(given):
            explained[k] = -cross[i, k]
            for m in range(given):
                explained[k] += inner[k, m] * coefficients[i, m]
        for j in range(i + 1):
            for k in range(given):
                scatter[i, j] += coefficients[j, k] * explained[k] - coefficients[i, k] * cross[j, k]


@kernel
def shrink(scatter: Floats, events: int) -> None:
    """Turn a scatter matrix (lower triangle) into a shrunk covariance, at least that of codes that hardly vary."""
    n = scatter.shape[0]
    trace = 0.0
    for i in range(n):
        trace += max(scatter[i, i], 0.0)
    level = max(SHRINKAGE * trace / n / (events - 1.0), 1.0)
    for i in range(n):
        for j in range(i + 1):
            scatter[i, j] *= (1.0 - SHRINKAGE) / (events - 1.0)
        scatter[i, i] = max(scatter[i, i], 0.0) + level
