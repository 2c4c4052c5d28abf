"""Rows of structured arrays that are handed out and taken back."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from leeboard.detectors.core.jit import Record

#: rows of a new arena, where they are small
SMALLEST = 64
#: arenas of larger rows, in bytes, begin with one row and grow by a quarter: half of them empty would be much
LARGE = 16_384


class Rows:
    """An arena of detector states that grows as it fills; rows taken back are used again, made new.

    A new row is zeros, or what `begin` makes of zeros.
    """

    def __init__(
        self, dtype: np.dtype[Any], shape: tuple[int, ...] = (), begin: Callable[[Record], None] | None = None
    ) -> None:
        self._new = np.zeros(shape, dtype)
        if begin is not None:
            first = np.zeros(1, dtype)
            begin(first[0])
            self._new = first[0]
        self._zeros = begin is None
        self._large = self._new.nbytes >= LARGE
        smallest = 1 if self._large else SMALLEST
        self.array: npt.NDArray[Any] = np.zeros((smallest, *shape), dtype)
        self.array[:] = self._new
        self._free: list[int] = list(range(smallest - 1, -1, -1))

    def take(self) -> int:
        """Number of a new row. `array` may be another object afterwards."""
        if not self._free:
            size = len(self.array)
            more = max(size // 4, 1) if self._large else size
            bigger = np.zeros((size + more, *self.array.shape[1:]), self.array.dtype)
            bigger[:size] = self.array
            if not self._zeros:
                bigger[size:] = self._new
            self.array = bigger
            self._free = list(range(size + more - 1, size - 1, -1))
        return self._free.pop()

    def give(self, row: int) -> None:
        """Take row number `row` back."""
        self.array[row] = self._new
        self._free.append(row)

    @property
    def used(self) -> int:
        """Rows handed out."""
        return len(self.array) - len(self._free)
