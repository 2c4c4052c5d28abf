"""Documented changes through the whole product: `leeboard replay` with default settings."""

from leeboard.pipelines.config import Config
from leeboard.pipelines.replay import Replay, ReplayedIncident
from leeboard.schemas import ModelCall

from tests.realdata import Stream, load, names

from .table import note, table

SHOWN_SIGNALS = 3


def replayed(calls: list[ModelCall]) -> list[ReplayedIncident]:
    """The incidents of a stream."""
    runner = Replay(Config())
    runner.feed(iter(calls))
    return runner.finish().incidents()


def rows_of(stream: Stream) -> list[list[str]]:
    """One row an incident."""
    place = {call.id: k for k, call in enumerate(stream.calls)}
    rows = []
    for incident in replayed(stream.calls):
        first, peak, last = incident.alerts[0], incident.peak, incident.last
        at = place[first.evidence.positions.opening.call_id]
        inside = next((w.name for w in stream.changes if w.first <= at < w.last), "")
        grey = any(w.first <= at < w.last for w in stream.grey)
        moved = ", ".join(
            f"{s.name}{' = ' + s.category if s.category else ''} {s.effect:+.2f}" for s in peak.signals[:SHOWN_SIGNALS]
        )
        end = f"{last.resolution} at {place[last.evidence.positions.this.call_id]}" if last.resolution else "open"
        state = "page" if incident.paged_at is not None else "notice"
        rows.append(
            [stream.name, str(at), inside or ("(grey)" if grey else "-"), state, f"{peak.level:.1g}", moved, end]
        )
    return rows


def section() -> str:
    """Every incident of the real call streams, with and without the columns that name model and provider."""
    head = ["stream", "call", "documented", "", "level", "what moved (effect)", "ended"]
    parts = []
    for title, blind in (("as they are", False), ("model and provider hidden", True)):
        rows: list[list[str]] = []
        silent = []
        for name in names(blind=blind):
            found = rows_of(load(name))
            rows += found
            if not found:
                silent.append(name)
        parts.append(f"Streams {title}\n")
        parts.append(table(head, rows))
        parts.append(note(f"No incident: {', '.join(silent)}."))
    return "\n".join(parts)
