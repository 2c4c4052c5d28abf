"""Small linear algebra in a fixed order: whole-number sums, which are the same in any order, and Cholesky's method.

BLAS and LAPACK add in an order that depends on the machine, hence own loops; n is at most some 130. What is long (rows
times weights) runs in whole numbers, which processors may add as they like.
"""

import math
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from .jit import Floats, Floats32, kernel

Codes: TypeAlias = npt.NDArray[np.int8]
Weights: TypeAlias = npt.NDArray[np.int16]
Sums: TypeAlias = npt.NDArray[np.int32]
Bytes: TypeAlias = npt.NDArray[np.uint8]

#: a weighted sum of codes is at most SUM_LIMIT << SUM_SHIFT, and kept as 16 bits
SUM_LIMIT = 30_000
SUM_SHIFT = 6
#: leaves 53 - 43 bits of a 64-bit float
COARSE = 2.0**43 + 1.0


@kernel
def weighted_sum(weights: Weights, codes: Codes) -> int:
    """Sum of weights x codes in 32 bits, which `scale_to_sum` makes sure of."""
    total = np.int32(0)
    for j in range(weights.size):
        total = np.int32(total + np.int32(np.int32(weights[j]) * np.int32(codes[j])))
    return int(total)


@kernel
def sort(values: Floats32) -> None:
    """Put values into ascending order (Shell 1959): NumPy's sorting costs seconds of compilation."""
    gap = values.size // 2
    while gap > 0:
        for i in range(gap, values.size):
            x = values[i]
            j = i
            while j >= gap and values[j - gap] > x:
                values[j] = values[j - gap]
                j -= gap
            values[j] = x
        gap //= 2


@kernel
def add_products(codes: Sums, products: Sums) -> None:
    """Add the products of a row of codes with itself to the lower triangle of `products` (n, n)."""
    for i in range(codes.size):
        code = np.int32(codes[i])
        row = products[i]
        for j in range(i + 1):
            row[j] = np.int32(row[j] + np.int32(code * np.int32(codes[j])))


@kernel
def factorise(matrix: Floats) -> None:
    """Replace the lower triangle of a positive definite matrix (n, n) by its Cholesky factor."""
    n = matrix.shape[0]
    for i in range(n):
        for j in range(i + 1):
            total = matrix[i, j]
            for k in range(j):
                total -= matrix[i, k] * matrix[j, k]
            matrix[i, j] = math.sqrt(max(total, 1e-12)) if i == j else total / matrix[j, j]


@kernel
def solve(factor: Floats, x: Floats) -> None:
    """Replace x (n,) by the solution of A y = x, for the Cholesky factor of A (lower triangle)."""
    n = x.size
    for i in range(n):
        total = x[i]
        for k in range(i):
            total -= factor[i, k] * x[k]
        x[i] = total / factor[i, i]
    for i in range(n - 1, -1, -1):
        x[i] /= factor[i, i]
        for k in range(i):
            x[k] -= factor[i, k] * x[i]


@kernel
def coarse(x: float) -> float:
    """Round to 10 bits (Dekker 1971): plenty for what is estimated from some hundred events, and it packs well."""
    stretched = x * COARSE
    kept: float = stretched - (stretched - x)
    return kept


@kernel
def pack_triangle(matrix: Floats, packed: Floats32) -> None:
    """Write the lower triangle of a matrix row by row."""
    at = 0
    for i in range(matrix.shape[0]):
        for j in range(i + 1):
            packed[at] = coarse(matrix[i, j])
            at += 1


@kernel
def solve_packed(packed: Floats32, x: Floats) -> None:
    """`solve` with a factor that `pack_triangle` wrote."""
    n = x.size
    at = 0
    for i in range(n):
        total = x[i]
        for k in range(i):
            total -= np.float64(packed[at + k]) * x[k]
        x[i] = total / np.float64(packed[at + i])
        at += i + 1
    for i in range(n - 1, -1, -1):
        at -= i + 1
        x[i] /= np.float64(packed[at + i])
        for k in range(i):
            x[k] -= np.float64(packed[at + k]) * x[i]


@kernel
def largest_sum(x: Floats, largest_code: int) -> float:
    """What sum x_j c_j can reach for codes of at most that size."""
    total = 0.0
    for j in range(x.size):
        total += abs(x[j])
    return total * largest_code


@kernel
def scale_to_sum(x: Floats, scale: float, weights: Weights) -> None:
    """Write x times `scale`, rounded to whole numbers."""
    for j in range(x.size):
        weights[j] = np.int16(math.floor(x[j] * scale + 0.5))
