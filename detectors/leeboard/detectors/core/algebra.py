"""Small linear algebra whose results are the same on every machine: sums of whole numbers, and Cholesky's method.

BLAS and LAPACK add in an order that depends on the machine, hence the loops here; n is at most 130 or so. Long sums
(rows times weights) use whole numbers, whose sum does not depend on the order.
"""

import math
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from .jit import Floats, Floats32, kernel

CodeRow: TypeAlias = npt.NDArray[np.int8]
WeightRow: TypeAlias = npt.NDArray[np.int16]
Sums: TypeAlias = npt.NDArray[np.int32]
Bytes: TypeAlias = npt.NDArray[np.uint8]

#: a weighted sum of codes is at most SUM_LIMIT << SUM_SHIFT; shifted right by SUM_SHIFT, it fits 16 bits
SUM_LIMIT = 30_000
SUM_SHIFT = 6
assert SUM_LIMIT < 2**15
assert SUM_LIMIT << SUM_SHIFT < 2**31
#: splitting constant (Dekker 1971) that leaves 53 - 43 = 10 bits of a 64-bit float
COARSE = 2.0**43 + 1.0


@kernel
def weighted_sum(weights: WeightRow, codes: CodeRow) -> int:
    """Sum of weights x codes, both (n,); it fits 32 bits for weights that `scale_to_sum` wrote."""
    total = np.int32(0)
    for j in range(weights.size):
        total = np.int32(total + np.int32(np.int32(weights[j]) * np.int32(codes[j])))
    return int(total)


@kernel
def sort(values: Floats32) -> None:
    """Sort values (n,) into ascending order, in place (Shell 1959): NumPy's sorting costs seconds of compilation."""
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
    """Add the outer product of `codes` (n,) with itself to the lower triangle of `products` (n, n)."""
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
    """Round to 10 bits (Dekker 1971): enough for an estimate from a few hundred events, and it compresses well."""
    scaled = x * COARSE
    rounded: float = scaled - (scaled - x)
    return rounded


@kernel
def pack_triangle(matrix: Floats, packed: Floats32) -> None:
    """Write the lower triangle of a matrix (n, n), rounded by `coarse`, row by row into `packed` (n (n + 1) / 2,)."""
    at = 0
    for i in range(matrix.shape[0]):
        for j in range(i + 1):
            packed[at] = coarse(matrix[i, j])
            at += 1


@kernel
def solve_packed(packed: Floats32, x: Floats) -> None:
    """Like `solve`, for a Cholesky factor that `pack_triangle` wrote."""
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
    """Largest possible sum of x_j c_j over codes c_j of at most `largest_code` in size."""
    total = 0.0
    for j in range(x.size):
        total += abs(x[j])
    return total * largest_code


@kernel
def scale_to_sum(x: Floats, scale: float, weights: WeightRow) -> None:
    """Write x (n,) times `scale`, rounded to whole numbers, into `weights` (n,)."""
    for j in range(x.size):
        weights[j] = np.int16(math.floor(x[j] * scale + 0.5))
