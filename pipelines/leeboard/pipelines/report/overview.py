"""The two charts of the whole replay: incidents over time, and pages against the budget's ceiling."""

from dataclasses import dataclass

import numpy as np
from leeboard.pipelines.watch.gate.fold import WEEK_MS, H
from leeboard.pipelines.wording import counted, duration, level_text, log10, scope_name, when

from ..replay import ReplayedIncident, ReplayResult
from .axes import Figure, digits
from .markup import hover_text, plotly_text
from .recorder import Recorder
from .series import ticks
from .states import STATES, ranked, spokesman, state_of

#: scopes drawn over time: 40 lanes are two screens
MAX_LANES = 40
#: incidents drawn over time: 1,000 x 700 bytes of hover text
MAX_BARS = 1000
LANE_PX, VOLUME_PX, AXIS_PX = 34, 54, 40
VOLUME_BINS = 200
#: a bar is at least this part of the period wide
LEAST_WIDTH = 0.004


@dataclass(frozen=True, slots=True)
class Timeline:
    """The chart of incidents, and what it leaves out."""

    figure: Figure
    states: list[str]
    lanes: int
    quiet_left_out: int
    scopes_left_out: int
    bars_left_out: int


def timeline(result: ReplayResult, recorder: Recorder, anchors: dict[str, str]) -> Timeline | None:
    """Incidents as bars, one lane a scope, over the volume of calls; None without calls. `anchors`: dedup key -> id."""
    if result.first_time is None or result.last_time is None:
        return None
    shown = ranked(result.incidents())[:MAX_BARS]
    troubled = list(dict.fromkeys(incident.last.scope for incident in shown))
    kept = set(troubled[:MAX_LANES])
    quiet = sorted({*recorder.tracks, *result.summaries} - set(troubled))
    lanes = list(dict.fromkeys(i.last.scope for i in result.incidents() if i.last.scope in kept))
    room = quiet[: MAX_LANES - len(lanes)] if len(quiet) + len(lanes) <= MAX_LANES else []
    lanes += room
    height = LANE_PX * len(lanes) + VOLUME_PX + AXIS_PX
    first, last = result.first_time, max(result.last_time, result.first_time + 1)
    traces = [_volume(recorder, first, last)]
    drawn = [incident for incident in shown if incident.last.scope in kept]
    states = [state for state in STATES if any(state_of(i) == state for i in drawn)]
    for state in states:
        mine = [incident for incident in drawn if state_of(incident) == state]
        traces += _bars(mine, state, lanes, first, last, anchors)
    share = VOLUME_PX / (LANE_PX * len(lanes) + VOLUME_PX)
    names = [
        {"text": plotly_text(scope_name(scope)), "x": 0, "xref": "paper", "y": lane, "yref": "y", "xanchor": "left"}
        | {"yanchor": "bottom", "yshift": 4, "showarrow": False}
        | {"font": {"size": 12, "color": "muted" if scope in room else "ink"}}
        for lane, scope in enumerate(lanes)
    ]
    layout = {
        "height": height,
        "barmode": "overlay",
        "hovermode": "closest",
        "margin": {"l": 8, "r": 8, "t": 4, "b": 30},
        "xaxis": {
            "type": "date",
            "range": [first - (last - first) * 0.005, last + (last - first) * 0.005],
            "anchor": "y2",
        },
        "yaxis": {"range": [len(lanes) - 0.6, -0.85], "domain": [share, 1], "visible": False, "fixedrange": True},
        "yaxis2": {"domain": [0, share * 0.8], "visible": False, "fixedrange": True, "rangemode": "tozero"},
        "annotations": names,
        "shapes": [
            {"type": "line", "x0": 0, "x1": 1, "xref": "paper", "y0": lane, "y1": lane, "layer": "below"}
            | {"line": {"width": 1, "color": "line"}}
            for lane in range(len(lanes))
        ],
    }
    return Timeline(
        {"data": traces, "layout": layout},
        [str(state) for state in states],
        len(lanes),
        len(quiet) - len(room),
        len(set(troubled) - kept),
        len(result.incidents()) - len(drawn),
    )


def _bars(
    incidents: list[ReplayedIncident], state: str, lanes: list[str], first: int, last: int, anchors: dict[str, str]
) -> list[Figure]:
    starts = [max(incident.last.change.estimate, first) for incident in incidents]
    ends = [incident.last.resolved_at or last for incident in incidents]
    least = round((last - first) * LEAST_WIDTH)
    rows = [lanes.index(incident.last.scope) for incident in incidents]
    return [
        {
            "type": "bar",
            "orientation": "h",
            "y": rows,
            "base": starts,
            "x": [max(end - start, least) for start, end in zip(starts, ends, strict=True)],
            "width": 0.34,
            "marker": {"color": state, "line": {"width": 1, "color": "surface"}},
            "text": [_hover(incident, state) for incident in incidents],
            "textposition": "none",
            "customdata": [anchors.get(incident.last.dedup_key, "") for incident in incidents],
            "hovertemplate": "%{text}<extra></extra>",
        },
        {
            "type": "scatter",
            "mode": "markers",
            "y": rows,
            "x": [incident.alerts[0].opened_at for incident in incidents],
            "marker": {"symbol": "circle", "size": 7, "color": "surface", "line": {"width": 2, "color": state}},
            "hoverinfo": "skip",
        },
    ]


def _hover(incident: ReplayedIncident, state: str) -> str:
    alert = spokesman(incident)
    ended = f"{alert.resolution or incident.last.resolution} {when(incident.last.resolved_at)}"
    span = f"{when(incident.last.change.estimate)}, {'still open' if incident.last.status != 'resolve' else ended}"
    return "<br>".join(
        [
            f"<b>{plotly_text(scope_name(alert.scope), 64)}</b>",
            f"{state} · {level_text(log10(incident.peak.level))} · {span}",
            hover_text(alert.verdict.sentence),
        ]
    )


def _volume(recorder: Recorder, first: int, last: int) -> Figure:
    """Calls over time, all scopes."""
    edges = np.linspace(first, last + 1, VOLUME_BINS + 1)
    counts = np.zeros(VOLUME_BINS)
    for track in recorder.tracks.values():
        counts += np.histogram(track.rows["time"], edges)[0] * track.stride
    width = (last + 1 - first) / VOLUME_BINS
    return {
        "type": "bar",
        "x": (edges[:-1] + width / 2).astype(np.int64).tolist(),
        "y": counts.astype(np.int64).tolist(),
        "width": round(width),
        "yaxis": "y2",
        "marker": {"color": "volume", "line": {"width": 0}},
        "hovertemplate": "%{y:,} calls in " + duration(width) + "<extra></extra>",
    }


@dataclass(frozen=True, slots=True)
class Budget:
    """Did the budget hold?"""

    held: bool
    sentence: str
    figure: Figure | None


def budget(result: ReplayResult) -> Budget:
    """Counted pages against what the gate may count at most: pages_per_week * span + H + 1 in any span of time."""
    ledger = result.ledger
    if ledger is None or not result.alerts:
        return Budget(True, "The budget held: nothing asked for a page.", None)
    rate = ledger.pages_per_week / WEEK_MS
    real = {alert.dedup_key for alert in result.alerts if alert.confirmed}
    times = [page.time for page in result.pages if page.status == "trigger" and page.page_key not in real]
    start = result.alerts[0].time
    if not times:
        return Budget(True, "The budget held: no page was counted.", _steps(result, start, rate))
    pages, span = _fullest(times, rate)
    most = rate * span + H + 1
    held = pages <= most + 1e-9
    count = counted(pages, "page was", "pages were")
    within = f"within {duration(span)}" if span else "at one moment"
    sentence = (
        f"The budget held. At its fullest {count} counted {within}, where at most {most:.2f} are possible."
        if held
        else f"The budget did not hold: {count} counted {within}, where at most {most:.2f} are possible."
    )
    return Budget(held, sentence, _steps(result, start, rate))


def _fullest(times: list[int], rate: float) -> tuple[int, int]:
    """Pages and length of the span that is nearest to its ceiling."""
    best, first, found = -np.inf, 0, (0, 0)
    for last, end in enumerate(times):
        if rate * times[last] - last >= rate * times[first] - first:
            first = last
        pages, span = last - first + 1, end - times[first]
        if pages - rate * span > best:
            best, found = pages - rate * span, (pages, span)
    return found


def _steps(result: ReplayResult, start: int, rate: float) -> Figure:
    """Counted pages as steps, the allowance and the ceiling as lines."""
    end = max(result.last_time or start, result.alerts[-1].time, start + 1)
    begin = min(result.first_time if result.first_time is not None else start, start)
    moves = [page for page in result.pages if page.status == "trigger" or page.alert.confirmed is not None]
    x = [begin, *(page.time for page in moves), end]
    y = [0, *(page.ledger.counted for page in moves)]
    y.append(result.ledger.counted if result.ledger is not None else y[-1])
    lines = [
        ("muted", "dash", [start, end], [H + 1, H + 1 + rate * (end - start)], "at most %{y:.2f}"),
        ("muted", "dot", [start, end], [0.0, rate * (end - start)], "allowance %{y:.2f}"),
    ]
    traces: list[Figure] = [
        {
            "type": "scatter",
            "mode": "lines",
            "x": xs,
            "y": digits(np.array(ys)),
            "hovertemplate": f"{hover}<extra></extra>",
        }
        | {"line": {"width": 1.5, "dash": dash, "color": colour}}
        for colour, dash, xs, ys, hover in lines
    ]
    paged = [page for page in result.pages if page.status == "trigger"]
    traces.append(
        {"type": "scatter", "mode": "lines", "x": x, "y": y, "hoverinfo": "skip"}
        | {"line": {"width": 2, "color": "page", "shape": "hv"}, "fill": "tozeroy", "fillcolor": "page-soft"}
    )
    traces.append(
        {
            "type": "scatter",
            "mode": "markers",
            "x": [page.time for page in paged],
            "y": [page.ledger.counted for page in paged],
            "marker": {"size": 6, "color": "page"},
            "text": [f"{when(page.time)}<br>{plotly_text(scope_name(page.alert.scope), 64)}" for page in paged],
            "hovertemplate": "page %{y}: %{text}<extra></extra>",
        }
    )
    highest = H + 1 + rate * (end - start)
    at = sorted({round(tick) for tick in ticks(0.0, highest * 1.08, logarithmic=False)})
    layout = {
        "height": 220,
        "hovermode": "closest",
        "xaxis": {"type": "date", "range": [begin, end]},
        "yaxis": {"range": [0, max(highest, max(y)) * 1.08], "tickvals": at, "ticktext": [f"{tick:,}" for tick in at]},
    }
    return {"data": traces, "layout": layout}
