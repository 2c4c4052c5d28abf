"""What the page says of one incident."""

from dataclasses import dataclass

from leeboard.schemas import Alert, Page, SignalShift

from ..replay import ReplayedIncident, ReplayResult
from .axes import Figure
from .recorder import Recorder, Track
from .series import series_of
from .splitchart import split_chart
from .states import IncidentState, last_pages, page_joined, spokesman, state_of
from .timechart import time_chart

#: signals of an incident that are drawn
MAX_DRAWN = 3


@dataclass(frozen=True, slots=True)
class SignalChart:
    """One signal in pictures. A figure is None where the calls were not recorded."""

    name: str
    category: str | None
    shift: SignalShift
    unit: str
    is_share: bool
    note: str
    bin_calls: str
    by_calls: bool
    time_figure: Figure
    split_figure: Figure | None
    calls_before: int
    calls_since: int
    #: one call of so many was kept
    stride: int


@dataclass(frozen=True, slots=True)
class Card:
    """An incident as the page shows it."""

    anchor: str
    state: IncidentState
    incident: ReplayedIncident
    #: the alert that speaks for it
    alert: Alert
    charts: list[SignalChart]
    #: anchor of the card whose page it joined
    joined: str | None
    page: Page | None
    #: http addresses from the configured templates
    links: dict[str, str]


def make_cards(
    result: ReplayResult, recorder: Recorder, incidents: list[ReplayedIncident], anchors: dict[str, str]
) -> list[Card]:
    """Cards with charts. `anchors`: dedup key -> id in the page."""
    pages, joined = last_pages(result), page_joined(result)
    cards = []
    for incident in incidents:
        alert = spokesman(incident)
        links = {**alert.links, **({"runbook": alert.runbook_url} if alert.runbook_url else {})}
        cards.append(
            Card(
                anchor=anchors[alert.dedup_key],
                state=state_of(incident),
                incident=incident,
                alert=alert,
                charts=_charts(incident, alert, recorder.tracks.get(alert.scope)),
                joined=anchors.get(joined.get(alert.dedup_key, "")),
                page=pages.get(alert.dedup_key),
                links={name: url for name, url in sorted(links.items()) if url.startswith(("https://", "http://"))},
            )
        )
    return cards


def _charts(incident: ReplayedIncident, alert: Alert, track: Track | None) -> list[SignalChart]:
    """Charts of the first signals of different names, as far as they were recorded."""
    if track is None:
        return []
    first: dict[str, SignalShift] = {}
    for signal in alert.signals:
        first.setdefault(signal.name, signal)
    charts = []
    for name, signal in first.items():
        moved = [s.category for s in alert.signals if s.name == name and s.category]
        chart = _chart(incident, alert, track, signal, moved)
        if chart is not None:
            charts.append(chart)
        if len(charts) == MAX_DRAWN:
            break
    return charts


def _chart(
    incident: ReplayedIncident, alert: Alert, track: Track, signal: SignalShift, moved: list[str]
) -> SignalChart | None:
    baseline = alert.evidence.baseline
    series = series_of(track, signal.name, (baseline.start, baseline.end))
    if series is None:
        return None
    drawn = time_chart(series, alert, incident.last if incident.last.status == "resolve" else None, signal.category)
    if drawn is None:
        return None
    before = series.between(baseline.start, baseline.end)
    since = series.between(alert.change.estimate, alert.time)
    return SignalChart(
        name=signal.name,
        category=signal.category,
        shift=signal,
        unit=series.unit,
        is_share=series.is_share,
        note=series.note,
        bin_calls=drawn.calls,
        by_calls=drawn.by_calls,
        time_figure=drawn.figure,
        split_figure=split_chart(before, since, moved),
        calls_before=len(before.values),
        calls_since=len(since.values),
        stride=track.stride,
    )
