"""Which injected causes a replay found: used by `demo`, and by benchmarks on simulated traffic."""

from collections.abc import Sequence

from msgspec import Struct

from .replay import ReplayedIncident
from .simulate import Injected
from .units import DAY_MS

#: alerts so long after the end of a cause still belong to it
AFTER_MS = DAY_MS


class FoundCause(Struct, frozen=True, kw_only=True):
    """A cause and the incident that answers it."""

    cause: Injected
    #: dedup key, None where nothing was found
    incident: str | None
    #: milliseconds from the start of the cause to the first alert about it
    delay_ms: int | None
    #: calls of the scope from the start of the cause to that alert
    calls: int | None
    paged: bool


def find(
    causes: Sequence[Injected], incidents: Sequence[ReplayedIncident]
) -> tuple[list[FoundCause], list[ReplayedIncident]]:
    """For every cause the first alert that names one of its signals; and the incidents that belong to no cause.

    A cause without `moves` expects nothing. An alert answers a cause if it stands in the cause's scope, comes after its
    start and before its end plus a day, and one of its signals is among `moves` or `follow`.
    """
    found: list[FoundCause] = []
    explained: set[str] = set()
    for cause in causes:
        best: FoundCause | None = None
        until = None if cause.end_ms is None else cause.end_ms + AFTER_MS
        for incident in incidents:
            for alert in incident.alerts:
                named = {signal.name for signal in alert.signals}
                if (
                    alert.scope != cause.scope
                    or alert.time < cause.start_ms
                    or (until is not None and alert.time > until)
                    or alert.status == "resolve"
                    or not named & {*cause.moves, *cause.follow}
                ):
                    continue
                explained.add(alert.dedup_key)
                if best is None:
                    best = FoundCause(
                        cause=cause,
                        incident=alert.dedup_key,
                        delay_ms=alert.time - cause.start_ms,
                        calls=alert.evidence.positions.this.sequence - cause.calls_before,
                        paged=incident.joined or (incident.paged_at or 0) >= cause.start_ms,
                    )
        found.append(best or FoundCause(cause=cause, incident=None, delay_ms=None, calls=None, paged=False))
    rest = [incident for incident in incidents if incident.last.dedup_key not in explained]
    return found, rest
