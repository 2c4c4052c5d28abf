"""Whole streams at compiled speed: a kernel walks until something happens, the life cycle of changes follows it."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from leeboard.detectors.core.changes import ACCEPTED_AFTER, Changes
from leeboard.detectors.core.jit import Arena, kernel

Codes = npt.NDArray[np.int8]
#: from an event, walk until one that needs a decision; the event after it
Walk = Callable[[int], int]


@kernel
def is_due(rows: Arena, i: int, frozen: Arena) -> bool:
    """Has the open change of row i, if there is one, lasted so long that it becomes normal?"""
    k = rows[i]["frozen"]
    due: bool = k >= 0 and rows[i]["events"] - frozen[k]["opened"] > ACCEPTED_AFTER
    return due


def followed(
    changes: Changes[Any], i: int, walk: Walk, first: int, last: int, nats: float, context: Any = None
) -> Codes:
    """What a detector makes of events `first` to `last` - 1, as codes of `lifecycle` (`last`,)."""
    codes = np.zeros(last, np.int8)
    changes.record(i)["milestone"] = math.inf
    t = first
    while t < last:
        t = walk(t)
        codes[t - 1] = changes.record(i)["code"]
        changes.follow(i, int(codes[t - 1]), 0.0, nats, context)
    return codes
