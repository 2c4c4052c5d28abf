"""Names of the types of arrays, and tables that grow."""

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

FloatArray: TypeAlias = npt.NDArray[np.float64]
IntArray: TypeAlias = npt.NDArray[np.int64]
BoolArray: TypeAlias = npt.NDArray[np.bool_]


def enlarged(table: npt.NDArray[Any], rows: int, empty: int) -> npt.NDArray[Any]:
    """The table with room for so many rows; `empty` in the new ones."""
    bigger = np.full((rows, *table.shape[1:]), empty, table.dtype)
    bigger[: len(table)] = table
    return bigger
