"""A stream of calls with its documented changes, and univariate views of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias

import numpy as np
from leeboard.schemas import ModelCall
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float64]
Ints: TypeAlias = NDArray[np.int64]
Bools: TypeAlias = NDArray[np.bool_]
#: choices were made on `dev` streams
Split: TypeAlias = Literal["dev", "test"]

MINUTES_A_DAY = 1440
MINUTES_A_WEEK = 7 * MINUTES_A_DAY
#: one call in so many milliseconds where the data have no times
SPACING_MS = 10_000


class Window(NamedTuple):
    """A half-open range [first, last): of call indices in a stream, of value indices in a view."""

    name: str
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class View:
    """One quantity of a stream's calls; see `values`."""

    name: str
    #: a numeric field of ModelCall, `error` (every call), or `output_chars`
    source: str
    split: Split
    #: windows of call indices that show in this quantity
    changes: tuple[Window, ...] = ()
    grey: tuple[Window, ...] = ()
    #: what one unit of the field is in the view
    scale: float = 1.0
    #: index of the first call that is left out
    stop: int | None = None


@dataclass(frozen=True, slots=True)
class Stream:
    """Calls of one scope in order of time."""

    name: str
    calls: list[ModelCall]
    #: documented changes, and ranges in which an alarm is neither false nor true
    changes: tuple[Window, ...] = ()
    grey: tuple[Window, ...] = ()
    views: tuple[View, ...] = ()
    #: days of every call where the clock is known well enough to explain anything
    days: Floats | None = None


@dataclass(frozen=True, slots=True)
class Values:
    """A univariate stream: values in order, documented changes, grey ranges, clock."""

    values: Floats
    split: Split
    changes: tuple[Window, ...] = ()
    grey: tuple[Window, ...] = ()
    #: time of every value in days, None where no clock is known
    days: Floats | None = None
    #: 0 or 1, of which no logarithm is taken
    binary: bool = False

    @property
    def minutes(self) -> Ints | None:
        """Minute of the week of every value."""
        return None if self.days is None else np.floor(self.days * MINUTES_A_DAY).astype(np.int64) % MINUTES_A_WEEK

    def quiet(self) -> Bools:
        """Where nothing is documented: an alarm there is false."""
        mask = np.ones(self.values.size, bool)
        for _, first, last in (*self.changes, *self.grey):
            mask[first:last] = False
        return mask

    def score(self, alarms: Sequence[int]) -> tuple[int, dict[str, int | None]]:
        """False alarms, and the delay of the first alarm inside every change (None: missed)."""
        at = np.asarray(alarms, np.int64)
        free = np.ones(at.size, bool)
        delays: dict[str, int | None] = {}
        for number, (name, first, last) in enumerate(self.changes):
            inside = (at >= first) & (at < last)
            delays[f"{name}.{number}"] = int(at[inside].min()) - first if inside.any() else None
            free &= ~inside
        for _, first, last in self.grey:
            free &= (at < first) | (at >= last)
        return int(free.sum()), delays


def values(stream: Stream) -> dict[str, Values]:
    """The views of a stream by name: successful calls that measured the quantity, windows in indices of these."""
    return {view.name: _values(stream, view) for view in stream.views}


def _values(stream: Stream, view: View) -> Values:
    found = [(index, _quantity(call, view.source)) for index, call in enumerate(stream.calls[: view.stop])]
    index = np.array([k for k, value in found if value is not None], np.int64)
    numbers = np.array([value for _, value in found if value is not None], np.float64)

    def windows(of: tuple[Window, ...]) -> tuple[Window, ...]:
        return tuple(Window(name, *np.searchsorted(index, (first, last)).tolist()) for name, first, last in of)

    return Values(
        values=numbers * view.scale,
        split=view.split,
        changes=windows(view.changes),
        grey=windows(view.grey),
        days=None if stream.days is None else stream.days[index],
        binary=view.source == "error",
    )


def _quantity(call: ModelCall, source: str) -> float | None:
    if source == "error":
        return float(call.error_type is not None)
    if call.error_type is not None:
        return None
    if source == "output_chars":
        return None if call.output_text is None else float(len(call.output_text))
    value: float | None = getattr(call, source)
    return value
