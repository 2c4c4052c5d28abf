"""Trouble of leeboard itself: no summaries any more, or no broker. Pure; time is an argument."""

from typing import Literal, TypeAlias

from leeboard.pipelines.notify.messages.message import Message
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
from msgspec import Struct

Trouble: TypeAlias = Literal["stalled", "unreachable"]
TROUBLES: tuple[Trouble, ...] = ("stalled", "unreachable")
Turning: TypeAlias = Literal["trigger", "resolve"]
SAYS = {
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


class Turn(Struct, frozen=True):
    """A trouble began or ended."""

    trouble: Trouble
    status: Turning


class DeadMan:
    """Watches for silence. `after_s`: silence of so many seconds, of a process that is connected, is trouble."""

    def __init__(self, after_s: float, now_s: float) -> None:
        self._after_s = after_s
        #: the last summary, or the moment from which one could have been seen
        self._quiet_since_s = now_s
        self._connected_s = now_s
        self._was_connected = True
        self.open: set[Trouble] = set()

    def step(self, now_s: float, *, connected: bool, summaries: bool) -> list[Turn]:
        """What has changed. `connected`: the broker answers; `summaries`: some arrived since the last step."""
        if connected:
            if not self._was_connected:  # nobody could have seen summaries meanwhile
                self._quiet_since_s += now_s - self._connected_s
            self._connected_s = now_s
        self._was_connected = connected
        if summaries:
            self._quiet_since_s = now_s
        away = now_s - self._connected_s >= self._after_s
        silent = connected and now_s - self._quiet_since_s >= self._after_s
        changes = self._set("unreachable", began=away, ended=connected)
        return changes + self._set("stalled", began=silent, ended=summaries)

    def _set(self, trouble: Trouble, *, began: bool, ended: bool) -> list[Turn]:
        if began and trouble not in self.open:
            self.open.add(trouble)
            return [Turn(trouble, "trigger")]
        if ended and trouble in self.open:
            self.open.discard(trouble)
            return [Turn(trouble, "resolve")]
        return []


def own_message(
    kind: Literal["stalled", "unreachable", "test"], status: Turning, app_id: str, time_ms: int, minutes: float = 0.0
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
        verdict=Verdict(kind="cannot_tell", confidence="firm", sentence=SAYS[kind].format(minutes=minutes)),
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
