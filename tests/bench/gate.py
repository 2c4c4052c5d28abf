"""The page gate over the real streams as one fleet, in random order; River's detectors with the same number of pages.

The streams of the fleet follow one another in a random order, evenly spread over a week. A documented change is found
if a page is triggered inside its window.
"""

from collections.abc import Sequence

import numpy as np
from leeboard.pipelines.config import Config
from leeboard.pipelines.replay import Replay
from leeboard.pipelines.watch.gate.fold import WEEK_MS, Gate, H
from leeboard.pipelines.watch.settings import BudgetSettings
from leeboard.schemas import Alert
from msgspec.structs import replace

from tests.realdata import Stream, load, names

from .crossings import call_views
from .drive import Method
from .rivals import adwin, kswin, page_hinkley
from .table import note, table

ORDERS = range(6)
PAGES_A_WEEK = (1.0, 3.0, 10.0)
#: thresholds from sensitive to dull
RIVALS: dict[str, tuple[Method, ...]] = {
    "ADWIN": tuple(adwin(10.0**-k) for k in (3, 6, 9, 12, 15, 20, 25, 30, 40, 60, 90, 130)),
    "Page-Hinkley": tuple(page_hinkley(20.0 * 1.4**k) for k in range(14)),
    "KSWIN": tuple(kswin(10.0**-k) for k in (4, 6, 8, 10, 12, 14, 16)),
}
KSWIN_EVENTS = 3000


def alerts_of(stream: Stream, budget: BudgetSettings) -> list[tuple[int, Alert]]:
    """Every alert of a stream with the index of its call."""
    place = {call.id: k for k, call in enumerate(stream.calls)}
    runner = Replay(Config(budget=budget))
    runner.feed(iter(stream.calls))
    alerts = runner.finish().alerts
    return [
        (place[alert.evidence.positions.this.call_id], replace(alert, scope=f"//{stream.name}/r")) for alert in alerts
    ]


def retimed(alert: Alert, time: int, scope: str) -> Alert:
    """The alert as if the fleet had raised it at this time."""
    shift = time - alert.time
    change = alert.change
    moved = replace(
        change, estimate=change.estimate + shift, earliest=change.earliest + shift, latest=change.latest + shift
    )
    return replace(alert, time=time, scope=scope, change=moved, served_model=None)


def fleet_pages(
    streams: dict[str, Stream], alerts: dict[str, list[tuple[int, Alert]]], order: Sequence[str], budget: BudgetSettings
) -> tuple[int, int, int]:
    """(changes found, pages outside documented windows, most pages counted in any window over the ceiling there)."""
    total = sum(len(stream.calls) for stream in streams.values())
    gate, found, false, times = Gate(budget), set(), 0, []
    start, where = 0, {}
    for name in order:
        scope = f"/{name}/r/r"
        where[scope] = (name, start)
        for at, alert in alerts[name]:
            time = round((start + at) / total * WEEK_MS)
            for page in gate.step(retimed(alert, time, scope)):
                if page.status == "trigger":
                    times.append(page.time)
                    stream, begins = where[page.alert.scope]
                    call = round(page.alert.time / WEEK_MS * total) - begins
                    hits = {(stream, w.name, w.first) for w in streams[stream].changes if w.first <= call < w.last}
                    grey = any(w.first <= call < w.last for w in streams[stream].grey)
                    found |= hits
                    false += not hits and not grey
        start += len(streams[name].calls)
    return len(found), false, ceiling_margin(times, budget.pages_per_week)


def ceiling_margin(times: list[int], rate: float) -> int:
    """Pages over the ceiling in the worst window (negative: the ceiling holds)."""
    worst = -int(H) - 1
    for i in range(len(times)):
        for j in range(i, len(times)):
            allowed = rate * (times[j] - times[i]) / WEEK_MS + H + 1
            worst = max(worst, int(np.ceil(j - i + 1 - allowed)))
    return worst


def rival_row(method: Method, streams: dict[str, Stream], limit: int | None = None) -> tuple[int, int]:
    """(alarms outside documented windows and inside them, changes found) of a River detector over all views."""
    alarms, found = 0, set()
    for name, v in call_views().items():
        if limit is not None and v.values.size > limit:
            continue
        stream = max((s for s in streams if name.startswith(s + ".")), key=len)
        at = method(v, 0)
        grey = np.zeros(at.size, bool)
        for _, first, last in v.grey:
            grey |= (at >= first) & (at < last)
        alarms += int((~grey).sum())
        found |= {(stream, w.name) for w in v.changes if ((at >= w.first) & (at < w.last)).any()}
    return alarms, len(found)


def section() -> str:
    """Changes found at 1, 3 and 10 pages a week."""
    # model and provider are hidden: River's detectors do not see them either
    streams = {name.removesuffix(".blind"): load(name) for name in names(blind=True)}
    changes = sum(len(stream.changes) for stream in streams.values())
    calls = sum(len(stream.calls) for stream in streams.values())
    rows, pages_used = [], []
    for rate in PAGES_A_WEEK:
        budget = BudgetSettings(pages_per_week=rate, calls_per_week=float(calls))
        alerts = {name: alerts_of(stream, budget) for name, stream in streams.items()}
        results = [
            fleet_pages(streams, alerts, np.random.default_rng(order).permutation(sorted(streams)).tolist(), budget)
            for order in ORDERS
        ]
        found, false, margin = (np.array(column) for column in zip(*results, strict=True))
        pages_used.append(float(np.mean(found + false)))
        rows.append([f"{rate:g}", f"{found.mean():.1f} of {changes}", f"{false.mean():.1f}", f"{margin.max():+d}"])
    parts = [f"{len(streams)} streams, {calls:,} calls as one week of a fleet, {len(ORDERS)} random orders\n"]
    parts.append(
        table(["pages a week", "changes found", "pages outside", "pages over the ceiling, worst window"], rows)
    )
    rival_rows = []
    for name, methods in RIVALS.items():
        limit = KSWIN_EVENTS if name == "KSWIN" else None
        measured = [rival_row(method, streams, limit) for method in methods]
        cells = [fewest(measured, pages) for pages in pages_used]
        rival_rows.append([name + (f" (streams up to {limit} events)" if limit else ""), *cells])
    head = ["most changes found with no more alarms", *(f"{pages:.1f} pages" for pages in pages_used)]
    parts.append(table(head, rival_rows))
    parts.append(
        note("River's detectors: one threshold for all signals, chosen with hindsight for that number of alarms.")
    )
    return "\n".join(parts)


def fewest(measured: list[tuple[int, int]], pages: float) -> str:
    """Most changes found by a threshold with at most so many alarms."""
    fitting = [(found, alarms) for alarms, found in measured if alarms <= max(pages, 1.0)]
    if not fitting:
        return f"none (fewest alarms: {min(alarms for alarms, _ in measured)})"
    found, alarms = max(fitting)
    return f"{found} ({alarms} alarms)"
