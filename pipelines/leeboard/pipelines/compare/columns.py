"""Observations of one side as arrays, in order of time, and which of them depend on each other."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from leeboard.schemas import FLAGS, NUMBERS, SIGNED, Observation

from ..arrays import BoolArray, FloatArray, IntArray
from ..signals import NUMERIC

#: one entry a call, None = not measured
TextColumn: TypeAlias = list[str | None]

#: neighbours in time depend on each other (a slow hour, a burst of errors, a provider's bad day): 25 blocks a side
#: measure how far a side moves by itself; they make an interval 9 % wider where nothing does (calls that are
#: independent, measured)
BLOCKS = 25
#: numbers that a failed call says nothing about
_OF_SUCCESS = frozenset(signal.field for signal in NUMERIC if signal.channel != "input")


@dataclass(frozen=True, slots=True)
class Side:
    """n calls in order of time (ties by id). Column arrays have shape (n,)."""

    calls: tuple[Observation, ...]
    #: by name in NUMBERS, NaN = not measured; NaN on failed calls where a failure says nothing of the signal
    numbers: dict[str, FloatArray]
    #: by name in FLAGS: 0 no, 1 yes, NaN not measured
    flags: dict[str, FloatArray]
    #: two ways to divide the calls into groups that are independent of each other, numbered from 0: by session (a call
    #: without one is alone) and by block of neighbours in time
    groupings: tuple[IntArray, IntArray]

    @property
    def failed(self) -> BoolArray:
        """Calls that ended in an error."""
        return np.equal(self.flags["error"], 1.0)


def side(observations: Sequence[Observation]) -> Side:
    """Read the columns of one side; the order of `observations` does not matter."""
    calls = tuple(sorted(observations, key=lambda call: (call.time, call.id)))
    table = np.frombuffer(b"".join(call.all_numbers() for call in calls), "<f4").reshape(len(calls), len(NUMBERS))
    bits = np.array([call.flags for call in calls], np.int64)
    flags = {}
    for k, name in enumerate(FLAGS):
        state = (bits >> 2 * k) & 3
        flags[name] = np.where(state == 2, 1.0, np.where(state == 1, 0.0, np.nan))
    failed = flags["error"] == 1.0
    numbers = {}
    for k, name in enumerate(NUMBERS):
        column = table[:, k].astype(np.float64)
        column[~(np.isfinite(column) & (column >= SIGNED.get(name, 0.0)))] = np.nan
        if name in _OF_SUCCESS:
            column[failed] = np.nan
        numbers[name] = column
    for name in FLAGS:
        if name != "error":
            flags[name][failed] = np.nan
    return Side(calls, numbers, flags, (alone(codes([call.session for call in calls])), blocks(len(calls))))


def codes(names: Sequence[str | None]) -> IntArray:
    """Count names from 0 in order of appearance, shape (n,); -1 for None."""
    seen: dict[str, int] = {}
    return np.array([-1 if name is None else seen.setdefault(name, len(seen)) for name in names], np.int64)


def alone(groups: IntArray) -> IntArray:
    """Give every call without group (-1) a group of its own, after the others."""
    without = groups < 0
    return np.where(without, groups.max(initial=-1) + np.cumsum(without), groups)


def blocks(n: int) -> IntArray:
    """Divide n neighbours into BLOCKS blocks, as equal as can be: the number of the block of each, shape (n,)."""
    return np.arange(n, dtype=np.int64) * min(n, BLOCKS) // max(n, 1)
