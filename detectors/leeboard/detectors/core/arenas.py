"""Rows of structured arrays that are allocated and freed."""

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from .jit import Row

#: rows of a new arena, where they are small
SMALLEST = 64
#: arenas of larger rows, in bytes, begin with one row and grow by a quarter: half of them empty would be much
LARGE = 16_384


class Rows:
    """An arena of detector states that grows as it fills; freed rows are used again, made new.

    A new row is zeros, or what `begin` makes of zeros. `rows`: how many there are at first, 0 for the default.
    """

    def __init__(
        self,
        dtype: np.dtype[Any],
        shape: tuple[int, ...] = (),
        begin: Callable[[Row], None] | None = None,
        rows: int = 0,
    ) -> None:
        self._new = np.zeros(shape, dtype)
        if begin is not None:
            first = np.zeros(1, dtype)
            begin(first[0])
            self._new = first[0]
        self._zeros = begin is None
        self._large = self._new.nbytes >= LARGE
        smallest = rows or (1 if self._large else SMALLEST)
        self.array: npt.NDArray[Any] = np.zeros((smallest, *shape), dtype)
        self.array[:] = self._new
        self._free: list[int] = list(range(smallest - 1, -1, -1))

    def allocate(self) -> int:
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

    def free(self, row: int) -> None:
        """Row number `row` may be allocated again."""
        self.array[row] = self._new
        self._free.append(row)

    @property
    def used(self) -> int:
        """Rows allocated."""
        return len(self.array) - len(self._free)


@cache
def _field_mask(dtype: np.dtype[Any]) -> npt.NDArray[np.uint8]:
    """255 for every byte of a field, 0 for padding, which is left to chance: equal states must have equal bytes."""
    mask = np.zeros(dtype.itemsize, np.uint8)
    for kind, offset, *_ in (dtype.fields or {}).values():
        base, count = (kind.base, kind.itemsize // kind.base.itemsize)
        own = _field_mask(base) if base.fields else np.full(base.itemsize, 255, np.uint8)
        mask[offset : offset + kind.itemsize] = np.tile(own, count)
    return mask


def record_bytes(rows: npt.NDArray[Any], i: int) -> bytes:
    """One row of an arena."""
    return (rows[i : i + 1].view(np.uint8) & _field_mask(rows.dtype)).tobytes()


def record_of(data: bytes, dtype: np.dtype[Any]) -> Row:
    """The row that `record_bytes` wrote. Raises ValueError where it has another length."""
    rows = np.frombuffer(data, dtype)
    if len(rows) != 1:
        raise ValueError(f"{len(data)} bytes are not one row")
    return rows[0]
