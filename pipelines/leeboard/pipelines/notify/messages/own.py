"""Messages about leeboard itself: no summaries any more, no broker, or a test."""

from typing import Literal, TypeAlias

from leeboard.schemas import (
    Alert,
    AlertEvidence,
    Baseline,
    Change,
    Ledger,
    Page,
    Position,
    Positions,
    Severity,
    Verdict,
    scope_key,
)

from .message import Message

Trouble: TypeAlias = Literal["stalled", "unreachable"]
TROUBLES: tuple[Trouble, ...] = ("stalled", "unreachable")
OwnStatus: TypeAlias = Literal["trigger", "resolve"]
_SENTENCES = {
    "stalled": (
        "leeboard stalled: no summary of any scope has arrived for {minutes:g} minutes, while the broker answers. "
        "Nothing may be watched: look at the workers (`leeboard lag`) and at what sends the calls"
    ),
    "unreachable": (
        "leeboard cannot reach its Kafka brokers for {minutes:g} minutes: no page comes through. "
        "Look at the brokers and at the network of `leeboard notify`"
    ),
    "test": "a test of `leeboard notify --test`; nothing has happened. It resolves itself at once",
}


def own_message(
    kind: Literal["stalled", "unreachable", "test"], status: OwnStatus, app_id: str, time_ms: int, minutes: float = 0.0
) -> Message:
    """A message about leeboard itself, as a page without signals. Its key is the same in every process of `app_id`."""
    key = f"leeboard_{kind}/{app_id}"
    nowhere = Position(sequence=0, call_id="")
    severity: Severity = "info" if kind == "test" else "critical"
    alert = Alert(
        id=f"leeboard_{kind}-{app_id}-{time_ms}-{status}",
        dedup_key=key,
        status=status,
        severity=severity,
        scope=scope_key(None, "leeboard", app_id, kind),
        time=time_ms,
        opened_at=time_ms,
        resolved_at=time_ms if status == "resolve" else None,
        resolution="recovered" if status == "resolve" else None,
        level=1.0,
        floor_passed=False,
        change=Change(estimate=time_ms, earliest=time_ms, latest=time_ms, calls_since=0),
        verdict=Verdict(kind="cannot_tell", confidence="firm", sentence=_SENTENCES[kind].format(minutes=minutes)),
        signals=[],
        evidence=AlertEvidence(
            engine_version="",
            numerics="",
            config_fingerprint="",
            baseline=Baseline(start=time_ms, end=time_ms, calls=0),
            positions=Positions(first=nowhere, opening=nowhere, this=nowhere),
        ),
    )
    ledger = Ledger(pages_per_week=0.0, allowance=0.0, counted=0, confirmed=0, waiting=0, h=0.0)
    return Message(kind, Page(page_key=key, status=status, time=time_ms, alert=alert, ledger=ledger))
