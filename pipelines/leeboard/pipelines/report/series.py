"""The values of one signal of one scope, cut into what a chart shows: bins of calls, histograms, shares, ticks."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt
from leeboard.pipelines.signals import BY_NAME, CATEGORICAL, Signal
from leeboard.schemas import NUMBERS
from scipy.optimize import nnls

from ..arrays import FloatArray, IntArray
from ..watch.batch.encoder import INLINE
from .recorder import ABSENT, OTHER, CallRows, Track

#: fewest calls that show what a call of so many tokens takes
FIT_CALLS = 30
Z95 = 1.959963984540054

_SCORE = f"score.{INLINE}."


@dataclass(frozen=True, slots=True)
class Series:
    """Measured values in order of time: numbers, 1 and 0 for yes and no, or codes of categories."""

    times: IntArray
    values: FloatArray
    unit: str
    logarithmic: bool = False
    #: code -> category, for categorical signals
    categories: dict[int, str] | None = None
    #: what the values are, where they are not the signal's own
    note: str = ""

    @property
    def is_share(self) -> bool:
        """Are the values yes or no, or categories?"""
        return self.categories is not None or self.unit == "yes or no"

    def code(self, category: str | None) -> float:
        """The value whose share is drawn: yes, or the code of a category (-1 where it was not recorded)."""
        if self.categories is None:
            return 1.0
        return float(next((code for code, name in sorted(self.categories.items()) if name == category), -1))

    def between(self, start_ms: float, end_ms: float) -> "Series":
        """The calls from start to end, both included."""
        low, high = np.searchsorted(self.times, [start_ms, end_ms + 1])
        return self.cut(int(low), int(high))

    def cut(self, low: int, high: int) -> "Series":
        """The calls number low to high."""
        times, values = self.times[low:high], self.values[low:high]
        return Series(times, values, self.unit, self.logarithmic, self.categories, self.note)


def series_of(track: Track, name: str, before_ms: tuple[int, int]) -> Series | None:
    """The values of a signal; None where they were not recorded.

    `before_ms`: start and end of the calls before the change. What is judged given the tokens of its call is drawn
    against what calls with its tokens took then.
    """
    rows = track.rows[np.argsort(track.rows["time"], kind="stable")]
    signal = BY_NAME.get(name)
    if signal is not None and signal.kind == "text":
        return None
    if signal is None:
        column = track.scores.get(name.removeprefix(_SCORE)) if name.startswith(_SCORE) else None
        return None if column is None else _measured(rows, rows["scores"][:, column], "score")
    if signal.kind == "categorical":
        column = CATEGORICAL.index(signal)
        codes = rows["codes"][:, column]
        categories = {code: value for value, code in track.values[column].items()} | {OTHER: "other values"}
        values = np.where(codes == ABSENT, np.nan, codes)
        return _measured(rows, values, "share", categories=categories)
    if signal.kind == "binary":
        return _measured(rows, _yes_or_no(rows, signal), "yes or no")
    values = rows["numbers"][:, signal.column].astype(np.float64)
    if signal.given_tokens:
        return _given_tokens(rows, values, signal, before_ms)
    return _measured(rows, values, signal.unit, logarithmic=signal.logarithmic)


def _measured(
    rows: CallRows,
    values: npt.NDArray[np.floating],
    unit: str,
    *,
    logarithmic: bool = False,
    categories: dict[int, str] | None = None,
    note: str = "",
) -> Series | None:
    known = np.isfinite(values)
    if not known.any():
        return None
    floats = np.asarray(values[known], np.float64)
    return Series(rows["time"][known], floats, unit, logarithmic and bool((floats > 0).all()), categories, note)


def _yes_or_no(rows: CallRows, signal: Signal) -> FloatArray:
    if signal.source == "flag":
        bits = ((rows["flags"] >> 2 * signal.column) & 3).astype(np.float64)
        return np.where(bits == 0, np.nan, bits - 1)
    bits = ((rows["measured"] >> signal.column) & 1).astype(np.float64)
    failed = (rows["flags"] & 3) == 2
    return np.where(failed, np.nan, bits)


def _given_tokens(rows: CallRows, values: FloatArray, signal: Signal, before_ms: tuple[int, int]) -> Series | None:
    """Values against what a call with its tokens took before: a sum of a constant and a price for either token."""
    numbers = rows["numbers"].astype(np.float64)
    tokens = numbers[:, [NUMBERS.index("input_tokens"), NUMBERS.index("output_tokens")]]
    known = np.isfinite(tokens).all(axis=1) & (values > 0)
    fit = known & (rows["time"] >= before_ms[0]) & (rows["time"] <= before_ms[1])
    source = signal.field
    if int(fit.sum()) < FIT_CALLS:
        note = f"{source} as it was: too few calls before the change to tell what a call with its tokens takes"
        return _measured(rows, values, BY_NAME[source].unit, logarithmic=True, note=note)
    design = np.column_stack([np.ones(len(rows)), tokens])
    scale = np.abs(design[fit]).max(axis=0)
    scale[scale == 0] = 1.0
    # relative errors count alike: cheap calls are as good witnesses as dear ones
    weights, _ = nnls(design[fit] / scale / values[fit, None], np.ones(int(fit.sum())))
    expected = (design / scale * weights).sum(axis=1)
    ratio = np.where(known & (expected > 0), values / np.where(expected > 0, expected, 1.0), np.nan)
    ratio /= np.median(ratio[fit & np.isfinite(ratio)])
    note = f"{source} of a call against what calls with its tokens took before the change"
    return _measured(rows, ratio, "ratio", logarithmic=True, note=note)


@dataclass(frozen=True, slots=True)
class Bins:
    """Consecutive calls, the same number in every bin: mean time and number of the call, middle, low and high."""

    times: list[int]
    centres: list[float]
    middle: FloatArray
    low: FloatArray
    high: FloatArray
    calls: list[int]


def cut_into_bins(n: int, size: int) -> list[tuple[int, int]]:
    """So many calls as ranges of about `size`."""
    edges = np.linspace(0, n, max(round(n / size), 1) + 1).astype(int).tolist()
    return [(a, b) for a, b in pairwise(edges) if b > a]


def quantile_bins(series: Series, size: int) -> Bins:
    """Median and 10 % and 90 % quantiles."""
    ranges = cut_into_bins(len(series.values), size)
    found = [np.quantile(series.values[a:b], [0.5, 0.1, 0.9]).tolist() for a, b in ranges]
    return _bins(series, ranges, found)


def share_bins(series: Series, size: int, code: float) -> Bins:
    """Share of one value with its 95 % interval (Wilson 1927)."""
    ranges = cut_into_bins(len(series.values), size)
    return _bins(
        series, ranges, [share_with_interval(int((series.values[a:b] == code).sum()), b - a) for a, b in ranges]
    )


def _bins(series: Series, ranges: list[tuple[int, int]], found: Sequence[Sequence[float]]) -> Bins:
    middle, low, high = np.array(found).reshape(-1, 3).T
    times = [int(series.times[a:b].astype(np.float64).mean()) for a, b in ranges]
    return Bins(times, [(a + b - 1) / 2 for a, b in ranges], middle, low, high, [b - a for a, b in ranges])


def share_with_interval(hits: int, n: int) -> tuple[float, float, float]:
    """Share, and the ends of its 95 % interval."""
    if n == 0:
        return 0.0, 0.0, 1.0
    share = hits / n
    centre = (share + Z95**2 / (2 * n)) / (1 + Z95**2 / n)
    half = Z95 * math.sqrt(share * (1 - share) / n + Z95**2 / (4 * n * n)) / (1 + Z95**2 / n)
    return share, max(min(centre - half, share), 0.0), min(max(centre + half, share), 1.0)


def histogram_edges(before: FloatArray, since: FloatArray, *, logarithmic: bool) -> FloatArray:
    """Edges that suit both samples; the outer half percent of the values may lie beyond."""
    both = [np.quantile(sample, [0.005, 0.995]) for sample in (before, since)]
    low, high = min(float(q[0]) for q in both), max(float(q[1]) for q in both)
    bins = int(np.clip(1.5 * math.sqrt(min(len(before), len(since))), 8, 30))
    whole = bool((np.concatenate([before, since]) % 1 == 0).all())
    if whole and high - low < bins:
        return np.arange(math.floor(low) - 0.5, math.ceil(high) + 1)
    if high <= low:
        low, high = (low / 1.1, high * 1.1) if logarithmic else (low - 0.5, high + 0.5)
    return np.geomspace(low, high, bins + 1) if logarithmic else np.linspace(low, high, bins + 1)


def ticks(low: float, high: float, *, logarithmic: bool, most: int = 7) -> list[float]:
    """Round numbers between low and high, at most so many."""
    found: list[float] = []
    if logarithmic:
        decades = range(math.floor(math.log10(low)) - 1, math.ceil(math.log10(high)) + 1)
        for steps in ((1,), (1, 3), (1, 2, 5), (1, 1.5, 2, 3, 5, 7)):
            found = [step * 10.0**decade for decade in decades for step in steps]
            found = [round(tick, 12) for tick in found if low <= tick <= high]
            if len(found) >= 3:
                return found[:: math.ceil(len(found) / most)]
    step = 10.0 ** math.floor(math.log10((high - low) / 3)) if high > low else 1.0
    while (high - low) / step > most:
        step *= 2.5 if f"{step:e}"[0] == "2" else 2.0
    first = math.ceil(low / step)
    return [round(k * step, 12) for k in range(first, math.floor(high / step + 1e-9) + 1)]
