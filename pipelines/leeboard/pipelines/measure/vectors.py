"""Vectors of texts: checked where they come with a call, packed for the record, compared."""

import math

import numpy as np
import numpy.typing as npt
from leeboard.detectors.core.jit import kernel
from leeboard.schemas import MAX_DIMENSIONS

Vector = npt.NDArray[np.float32]

#: fingerprint of vectors that came with calls, with their length
GIVEN = "app-"


def given_vector(values: list[float], dimensions: int | None) -> Vector | None:
    """A vector (d,) that came with a call, made to unit length; None for one that cannot be used.

    Not to be used: a length other than `dimensions` (or beyond MAX_DIMENSIONS), values that are no numbers, all 0.
    """
    if not 1 <= len(values) <= MAX_DIMENSIONS or (dimensions is not None and len(values) != dimensions):
        return None
    vector = np.array(values, np.float64)
    largest = float(np.abs(vector).max())
    if not 0.0 < largest < math.inf:  # also false where one is NaN
        return None
    unit = (vector / largest).astype(np.float32)
    normalise(unit)
    return unit


@kernel
def normalise(vector: Vector) -> None:
    """Make a vector of unit length, in a fixed order of additions; one of zeros stays."""
    square = 0.0
    for k in range(len(vector)):
        square += np.float64(vector[k]) * np.float64(vector[k])
    if square > 0.0:
        factor = np.float32(1.0 / math.sqrt(square))
        for k in range(len(vector)):
            vector[k] *= factor


@kernel
def pack(vector: Vector, packed: npt.NDArray[np.int8]) -> float:
    """Write a vector as int8; times the scale that is given it is the vector again, to 1/254 of its largest value.

    0.0 for a vector that is all zeros or no numbers.
    """
    largest = 0.0
    for k in range(len(vector)):
        largest = max(largest, abs(np.float64(vector[k])))
        if not math.isfinite(vector[k]):
            return 0.0
    if largest == 0.0:
        return 0.0
    for k in range(len(vector)):
        packed[k] = np.int8(math.floor(np.float64(vector[k]) * 127.0 / largest + 0.5))
    return largest / 127.0


@kernel
def cosine(first: Vector, second: Vector) -> float:
    """Cosine of two vectors of unit length, -1 to 1."""
    total = 0.0
    for k in range(len(first)):
        total += np.float64(first[k]) * np.float64(second[k])
    return min(max(total, -1.0), 1.0)
