"""One row of an arena as bytes, and back."""

from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
from leeboard.detectors.core.jit import Arena, Record


@cache
def _fields(dtype: np.dtype[Any]) -> npt.NDArray[np.uint8]:
    """255 for every byte of a field, 0 for padding, which is left to chance: equal states must have equal bytes."""
    mask = np.zeros(dtype.itemsize, np.uint8)
    for kind, offset, *_ in (dtype.fields or {}).values():
        base, count = (kind.base, kind.itemsize // kind.base.itemsize)
        own = _fields(base) if base.fields else np.full(base.itemsize, 255, np.uint8)
        mask[offset : offset + kind.itemsize] = np.tile(own, count)
    return mask


def record_bytes(rows: Arena, i: int) -> bytes:
    """One row of an arena."""
    return (rows[i : i + 1].view(np.uint8) & _fields(rows.dtype)).tobytes()


def detector_bytes(rows: Arena, i: int) -> bytes:
    """One detector; row numbers that it points to mean nothing elsewhere: 0 stands for "has one"."""
    row = (rows[i : i + 1].view(np.uint8) & _fields(rows.dtype)).view(rows.dtype)
    for name in ("watcher", "frozen", "retained"):
        row[name] = np.minimum(row[name], 0)
    return row.tobytes()


def record_of(data: bytes, dtype: np.dtype[Any]) -> Record:
    """The row that `record_bytes` wrote. Raises ValueError where it has another length."""
    rows = np.frombuffer(data, dtype)
    if len(rows) != 1:
        raise ValueError(f"{len(data)} bytes are not one row")
    return rows[0]
