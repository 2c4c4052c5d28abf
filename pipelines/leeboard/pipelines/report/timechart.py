"""A signal before the change, since, and after the end of its incident."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from leeboard.pipelines.wording import moment, when
from leeboard.schemas import Alert

from ..arrays import IntArray
from .axes import HEIGHT_PX, Figure, digits, share_axis, value_axis
from .series import Bins, Series, quantile_bins, share_bins

#: bins of a chart, and fewest calls in a bin, of medians and of shares
MAX_BINS, BIN_CALLS = 100, 6
MAX_SHARE_BINS, SHARE_BIN_CALLS = 50, 10
#: parts that the time since a change is cut into, if it has the calls for it
LEAST_BINS = 6
#: a chart shows so many calls before the change and after the end, or so many times those in between
CONTEXT_BEFORE, CONTEXT_AFTER = (1000, 2.0), (300, 0.5)
#: calls come in bursts where half of them take less than this part of the time
BURSTS = 0.2
TICKS = 5


@dataclass(frozen=True, slots=True)
class TimeChart:
    """The figure, and what its caption needs to say."""

    figure: Figure
    #: calls of a bin
    calls: str
    #: the axis counts calls, since they come in bursts
    by_calls: bool


@dataclass(frozen=True, slots=True)
class Ruler:
    """The x axis: the clock, or the calls in their order."""

    times: IntArray
    by_calls: bool

    def at(self, epoch_ms: int) -> float:
        """Position of a time on it."""
        return float(np.searchsorted(self.times, epoch_ms)) - 0.5 if self.by_calls else epoch_ms

    def ends(self) -> tuple[float, float]:
        """Both ends of the axis."""
        first, last = (-0.5, len(self.times) - 0.5) if self.by_calls else (int(self.times[0]), int(self.times[-1]))
        margin = max((last - first) * 0.02, 1.0)
        return first - margin, last + margin

    def axis(self) -> Figure:
        """The axis, labelled with dates either way."""
        ends = list(self.ends())
        if not self.by_calls:
            return {"type": "date", "range": ends}
        positions = sorted({round(position) for position in np.linspace(0, len(self.times) - 1, TICKS).tolist()})
        names = [f"{moment(int(self.times[position])):%Y-%m-%d<br>%H:%M}" for position in positions]
        return {"type": "linear", "range": ends, "tickvals": positions, "ticktext": names, "tickangle": 0}


def time_chart(series: Series, alert: Alert, end: Alert | None, category: str | None) -> TimeChart | None:
    """The chart of a signal; None without calls.

    `alert`: where the change and the opening are taken from; `end`: the alert that resolved the incident; `category`:
    the one whose share is drawn.
    """
    start = int(np.searchsorted(series.times, alert.change.estimate))
    stop = len(series.times) if end is None else int(np.searchsorted(series.times, end.time + 1))
    low = max(0, start - max(CONTEXT_BEFORE[0], round(CONTEXT_BEFORE[1] * (stop - start))))
    high = min(len(series.times), stop + max(CONTEXT_AFTER[0], round(CONTEXT_AFTER[1] * (stop - start))))
    least, most = (SHARE_BIN_CALLS, MAX_SHARE_BINS) if series.is_share else (BIN_CALLS, MAX_BINS)
    size = max(least, round((high - low) / most))
    drawn: list[tuple[str, int, Bins]] = []
    for colour, a, b in (("before", low, start), ("since", start, stop), ("before", stop, high)):
        if b > a:
            part = series.cut(a, b)
            own = min(size, max(least, (b - a) // LEAST_BINS))
            bins = share_bins(part, own, series.code(category)) if series.is_share else quantile_bins(part, own)
            drawn.append((colour, a - low, bins))
    if not drawn:
        return None
    ruler = Ruler(series.times[low:high], in_bursts(series.times[low:high]))
    limits = np.concatenate([limit for _, _, bins in drawn for limit in (bins.low, bins.high)])
    if series.is_share:
        axis = share_axis(float(limits.max()))
    else:
        axis = value_axis(float(limits.min()), float(limits.max()), series.unit, logarithmic=series.logarithmic)
    traces = [trace for colour, offset, bins in drawn for trace in _band(bins, offset, colour, series, ruler)]
    calls = sorted({max(bins.calls) for _, _, bins in drawn})
    layout = {
        "height": HEIGHT_PX,
        "xaxis": ruler.axis(),
        "yaxis": axis,
        "margin": {"t": 18 if end is None else 32},
        **_marks(alert, end, ruler),
    }
    bin_calls = f"{calls[0]}" if len(calls) == 1 else f"{calls[0]} to {calls[-1]}"
    return TimeChart({"data": traces, "layout": layout}, bin_calls, ruler.by_calls)


def in_bursts(times: IntArray) -> bool:
    """Does the denser half of the calls take little of the time?"""
    edges = times[np.linspace(0, len(times) - 1, min(len(times), 41)).astype(int)]
    spans = sorted(int(b - a) for a, b in pairwise(edges.tolist()))
    return sum(spans[: len(spans) // 2]) < BURSTS * sum(spans)


def _band(bins: Bins, offset: int, colour: str, series: Series, ruler: Ruler) -> list[Figure]:
    low, high, middle = (digits(values) for values in (bins.low, bins.high, bins.middle))
    x: list[float] = [offset + at for at in bins.centres] if ruler.by_calls else list(bins.times)
    if series.is_share:
        hover = "%{y:.1%} of %{customdata[2]} calls<br>95 %: %{customdata[0]:.1%} to %{customdata[1]:.1%}"
    else:
        hover = (
            "median %{y:,.4~g} of %{customdata[2]} calls<br>10-90 %: %{customdata[0]:,.4~g} to %{customdata[1]:,.4~g}"
        )
    hover_rows = [list(each) for each in zip(low, high, bins.calls, map(when, bins.times), strict=True)]
    return [
        {
            "type": "scatter",
            "mode": "lines",
            "x": [*x, *reversed(x)],
            "y": [*high, *reversed(low)],
            "fill": "toself",
            "fillcolor": f"{colour}-soft",
            "line": {"width": 0 if len(x) > 1 else 5, "color": f"{colour}-soft"},
            "hoverinfo": "skip",
        },
        {
            "type": "scatter",
            "mode": "lines" if len(x) > 2 * LEAST_BINS else "lines+markers",
            "x": x,
            "y": middle,
            "customdata": hover_rows,
            "line": {"width": 2, "color": colour},
            "marker": {"size": 5, "color": colour},
            "hovertemplate": "%{customdata[3]}<br>" + hover + "<extra></extra>",
        },
    ]


def _marks(alert: Alert, end: Alert | None, ruler: Ruler) -> Figure:
    """The change with its interval, the opening and the end, as shapes and their names."""
    change = alert.change
    shapes: list[Figure] = [
        {"type": "rect", "x0": ruler.at(change.earliest), "x1": ruler.at(change.latest), "y0": 0, "y1": 1}
        | {"yref": "paper", "fillcolor": "change-soft", "line": {"width": 0}, "layer": "below"}
    ]
    notes: list[Figure] = []
    events = [("change", change.estimate, "solid", 0), ("opened", alert.opened_at, "dot", 0)]
    if end is not None:
        events.append((end.resolution or "resolved", end.time, "dot", 1))
    first, last = ruler.ends()
    for name, epoch_ms, dash, row in events:
        at = ruler.at(epoch_ms)
        shapes.append(
            {"type": "line", "x0": at, "x1": at, "y0": 0, "y1": 1, "yref": "paper"}
            | {"line": {"width": 1.5, "dash": dash, "color": "change"}}
        )
        left = name == "change" or (name != "opened" and (at - first) > 0.8 * (last - first))
        notes.append(
            {"text": name, "x": at, "y": 1, "yref": "paper", "xanchor": "right" if left else "left"}
            | {"yanchor": "bottom", "yshift": 13 * row, "showarrow": False, "font": {"size": 11, "color": "change"}}
        )
    return {"shapes": shapes, "annotations": notes}
