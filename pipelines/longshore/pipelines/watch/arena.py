"""Rows of structured arrays that are handed out and taken back."""

from typing import Any

import numpy as np
import numpy.typing as npt

#: rows of a new arena
SMALLEST = 64


class Rows:
    """An arena of detector states that grows by doubling; rows taken back are used again, zeroed."""

    def __init__(self, dtype: np.dtype[Any], shape: tuple[int, ...] = ()) -> None:
        self._shape = shape
        self.array: npt.NDArray[Any] = np.zeros((SMALLEST, *shape), dtype)
        self._free: list[int] = list(range(SMALLEST - 1, -1, -1))

    def take(self) -> int:
        """Number of a zeroed row. `array` may be another object afterwards."""
        if not self._free:
            size = len(self.array)
            bigger = np.zeros((2 * size, *self._shape), self.array.dtype)
            bigger[:size] = self.array
            self.array = bigger
            self._free = list(range(2 * size - 1, size - 1, -1))
        return self._free.pop()

    def give(self, row: int) -> None:
        """Take row number `row` back."""
        self.array[row] = np.zeros((), self.array.dtype)
        self._free.append(row)

    @property
    def used(self) -> int:
        """Rows handed out."""
        return len(self.array) - len(self._free)
