"""What became of an incident, and which of its alerts speaks for it."""

from typing import Literal, get_args

from leeboard.pipelines.wording import log10
from leeboard.schemas import Alert, Page

from ..replay import ReplayedIncident, ReplayResult

#: paged; joined a page; is open and waits for the budget; not for interrupting anybody
IncidentState = Literal["page", "joined", "waiting", "notice"]
STATES: tuple[IncidentState, ...] = get_args(IncidentState)


def state_of(incident: ReplayedIncident) -> IncidentState:
    """What the gate made of an incident."""
    last = incident.last
    if incident.paged_at is not None:
        return "page"
    if incident.joined:
        return "joined"
    if last.status != "resolve" and last.severity != "info" and not last.announced and not last.muted:
        return "waiting"
    return "notice"


def spokesman(incident: ReplayedIncident) -> Alert:
    """The newest alert; where it recovered, the one with the highest level, before the recovery blurred it."""
    return incident.peak if incident.last.resolution == "recovered" else incident.last


def ranked(incidents: list[ReplayedIncident]) -> list[ReplayedIncident]:
    """Pages first, notices last, each by level."""
    return sorted(incidents, key=lambda i: (STATES.index(state_of(i)), -log10(i.peak.level), i.last.dedup_key))


def last_pages(result: ReplayResult) -> dict[str, Page]:
    """The newest record of every page."""
    return {page.page_key: page for page in result.pages}


def page_joined(result: ReplayResult) -> dict[str, str]:
    """Dedup key of an incident that joined a page -> page key."""
    return {member.dedup_key: page.page_key for page in result.pages for member in page.rolled_up}
