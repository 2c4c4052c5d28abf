"""Trouble of leeboard itself, as far as `notify` can see it: what to report, and what to show operators. Pure."""

from collections.abc import Iterable

from leeboard.pipelines.notify.messages.message import Message
from leeboard.pipelines.notify.messages.own import TROUBLES, OwnStatus, Trouble, own_message
from msgspec import Struct

from .events import Heartbeat, Instant


class TroubleTurn(Struct, frozen=True):
    """A trouble began or ended."""

    trouble: Trouble
    status: OwnStatus


class DeadManSwitch:
    """Watches for silence. `after_s`: silence of so many seconds, of a process that is connected, is trouble."""

    def __init__(self, after_s: float, now_s: float, open_troubles: Iterable[str] = ()) -> None:
        self._after_s = after_s
        #: when the last summary was seen, or could have been seen first
        self._silent_since_s = now_s
        self._connected_s = now_s
        self._was_connected = True
        self.open: set[Trouble] = {trouble for trouble in TROUBLES if trouble in open_troubles}

    def step(self, now_s: float, *, connected: bool, summaries: bool) -> list[TroubleTurn]:
        """What has changed. `connected`: the broker answers; `summaries`: some arrived since the last step."""
        if connected:
            if not self._was_connected:  # nobody could have seen summaries meanwhile
                self._silent_since_s += now_s - self._connected_s
            self._connected_s = now_s
        self._was_connected = connected
        if summaries:
            self._silent_since_s = now_s
        is_away = now_s - self._connected_s >= self._after_s
        is_silent = connected and now_s - self._silent_since_s >= self._after_s
        turns = self._set("unreachable", began=is_away, ended=connected)
        return turns + self._set("stalled", began=is_silent, ended=summaries)

    def _set(self, trouble: Trouble, *, began: bool, ended: bool) -> list[TroubleTurn]:
        if began and trouble not in self.open:
            self.open.add(trouble)
            return [TroubleTurn(trouble, "trigger")]
        if ended and trouble in self.open:
            self.open.discard(trouble)
            return [TroubleTurn(trouble, "resolve")]
        return []


class SelfHealth:
    """Messages about leeboard itself, from heartbeats."""

    def __init__(self, app_id: str, stalled_minutes: float, now: Instant) -> None:
        self._app_id = app_id
        self._minutes = stalled_minutes
        self._switch = DeadManSwitch(stalled_minutes * 60.0, now.monotonic_s)
        self._summaries = 0

    @property
    def troubles(self) -> list[Trouble]:
        """What began and is not over."""
        return [trouble for trouble in TROUBLES if trouble in self._switch.open]

    def restart(self, troubles: list[str], last_commit_s: float, now: Instant) -> list[Message]:
        """Take over from an earlier process: `troubles` that it noted, at its last commit (epoch seconds, 0: never).

        An earlier process that could reach no broker could note nothing: if the last commit is long ago, it may have
        reported `unreachable`, so that is resolved.
        """
        self._switch = DeadManSwitch(self._minutes * 60.0, now.monotonic_s, troubles)
        silent_s = now.wall_s - last_commit_s if last_commit_s else 0.0
        is_lost = silent_s >= self._minutes * 60.0 and "unreachable" not in troubles
        return [self._message("unreachable", "resolve", now)] if is_lost else []

    def reminders(self, now: Instant) -> list[Message]:
        """What is open, to be sent again: it may not have arrived, or been forgotten."""
        return [self._message(trouble, "trigger", now) for trouble in self.troubles]

    def step(self, heartbeat: Heartbeat, now: Instant) -> list[Message]:
        """What is to be reported now."""
        turns = self._switch.step(
            now.monotonic_s, connected=heartbeat.connected, summaries=heartbeat.summaries > self._summaries
        )
        self._summaries = heartbeat.summaries
        return [self._message(turn.trouble, turn.status, now) for turn in turns]

    def _message(self, trouble: Trouble, status: OwnStatus, now: Instant) -> Message:
        return own_message(trouble, status, self._app_id, int(now.wall_s * 1000), self._minutes)
