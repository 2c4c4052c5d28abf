"""The law of a stream of vectors: mean and covariance, for RESIDUALS also the regression on the conditioning vectors.

It is computed from sums of products of whole numbers, which are exact. The covariance is shrunk halfway to a multiple
of the identity (Ledoit, Wolf 2004, with a fixed weight): without shrinkage, the inverse of a covariance from 300
vectors of 82 coordinates is mostly noise.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
from leeboard.detectors.core.algebra import add_products, coarse, factorise, pack_triangle, solve
from leeboard.detectors.core.jit import Floats, Record, kernel

from .store import CODE_STEPS, RESIDUALS, conditioning_of, vector_of

#: weight of the identity in the covariance
SHRINKAGE = 0.5
#: prior precision of a regression coefficient, as that of so many events; its prior mean is 0
RIDGE_EVENTS = 60.0


def fit_dtype(dimensions: int, conditioning_dimensions: int) -> list[tuple[Any, ...]]:
    """Fields of a fitted law, for vectors and conditioning vectors of so many dimensions."""
    return [
        ("mean", "f8", dimensions),
        ("conditioning_mean", "f8", conditioning_dimensions),
        ("regression", "f4", (conditioning_dimensions, dimensions)),  # of a vector on its conditioning vector
        ("factor", "f4", dimensions * (dimensions + 1) // 2),  # Cholesky factor of the covariance, row by row
    ]


@kernel
def add_moments(
    store: Record, kind: int, first: int, last: int, dimensions: int, products: npt.NDArray[np.int32]
) -> None:
    """Add the products of codes, codes of the conditioning vectors and a 1 to the lower triangle of `products` (n, n).

    At most 67^2 x 500 events: far below 2^31.
    """
    n = products.shape[0]
    joint = np.zeros(n, np.int32)
    joint[n - 1] = 1
    for event in range(first, last):
        codes = vector_of(store, kind, event)
        for j in range(dimensions):
            joint[j] = np.int32(codes[j])
        if kind == RESIDUALS:
            codes = conditioning_of(store, event)
            for j in range(codes.size):
                joint[dimensions + j] = np.int32(codes[j])
        add_products(joint, products)


@kernel
def centred(products: npt.NDArray[np.int32], i: int, j: int, events: int) -> float:
    """Sum of products of the deviations of coordinates i >= j from their means."""
    last = products.shape[0] - 1
    total = np.int64(products[i, j]) * events - np.int64(products[last, i]) * np.int64(products[last, j])
    return np.float64(total) / events


@kernel
def fit_law(law: Record, store: Record, kind: int, first: int, last: int) -> None:
    """Learn mean, regression and covariance of a kind of vectors from events `first` to `last` - 1."""
    dimensions, conditioning_dimensions = law["mean"].size, law["conditioning_mean"].size
    size = dimensions + 1 + (conditioning_dimensions if kind == RESIDUALS else 0)
    events = last - first
    products = np.zeros((size, size), np.int32)
    add_moments(store, kind, first, last, dimensions, products)
    for j in range(dimensions):
        law["mean"][j] = np.float64(products[size - 1, j]) / events
    scatter = np.zeros((dimensions, dimensions))
    for i in range(dimensions):
        for j in range(i + 1):
            scatter[i, j] = centred(products, i, j, events)
    if kind == RESIDUALS:
        for j in range(conditioning_dimensions):
            law["conditioning_mean"][j] = np.float64(products[size - 1, dimensions + j]) / events
        regress(law, products, events, scatter)
    shrink(scatter, events)
    factorise(scatter)
    pack_triangle(scatter, law["factor"])


@kernel
def regress(law: Record, products: npt.NDArray[np.int32], events: int, scatter: Floats) -> None:
    """Ridge regression of the codes on the conditioning vectors; `scatter` becomes that of the residuals."""
    dimensions, conditioning_dimensions = law["mean"].size, law["conditioning_mean"].size
    inner = np.zeros((conditioning_dimensions, conditioning_dimensions))
    cross = np.zeros((dimensions, conditioning_dimensions))
    for i in range(conditioning_dimensions):
        for j in range(i + 1):
            inner[i, j] = centred(products, dimensions + i, dimensions + j, events)
            inner[j, i] = inner[i, j]
        for j in range(dimensions):
            cross[j, i] = centred(products, dimensions + i, j, events)
    factor = inner.copy()
    for i in range(conditioning_dimensions):
        factor[i, i] += RIDGE_EVENTS * CODE_STEPS * CODE_STEPS
    factorise(factor)
    coefficients = cross.copy()
    for j in range(dimensions):
        solve(factor, coefficients[j])
        for i in range(conditioning_dimensions):
            coefficients[j, i] = coarse(coefficients[j, i])
            law["regression"][i, j] = coefficients[j, i]
    # (Z - XW)'(Z - XW) = Z'Z - W'X'Z - Z'XW + W'X'XW
    explained = np.zeros(conditioning_dimensions)
    for i in range(dimensions):
        for k in range(conditioning_dimensions):
            explained[k] = -cross[i, k]
            for m in range(conditioning_dimensions):
                explained[k] += inner[k, m] * coefficients[i, m]
        for j in range(i + 1):
            for k in range(conditioning_dimensions):
                scatter[i, j] += coefficients[j, k] * explained[k] - coefficients[i, k] * cross[j, k]


@kernel
def shrink(scatter: Floats, events: int) -> None:
    """Replace a scatter matrix (lower triangle) by the shrunk covariance.

    The multiple of the identity is at least 1 (squared code), for codes that hardly vary.
    """
    n = scatter.shape[0]
    trace = 0.0
    for i in range(n):
        trace += max(scatter[i, i], 0.0)
    level = max(SHRINKAGE * trace / n / (events - 1.0), 1.0)
    for i in range(n):
        for j in range(i + 1):
            scatter[i, j] *= (1.0 - SHRINKAGE) / (events - 1.0)
        scatter[i, i] = max(scatter[i, i], 0.0) + level
