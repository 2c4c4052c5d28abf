"""Trouble of leeboard itself, as far as `notify` can see it: what to tell the pagers, and what to tell operators."""

import time

from leeboard.pipelines.config import Config
from leeboard.pipelines.notify.delivery.metrics import Metrics
from leeboard.pipelines.notify.messages.message import Message

from .health import TROUBLES, DeadMan, Trouble, Turning, own_message
from .heartbeat import Pulse


class Vitals:
    """Joins the pulse with the dead man's switch."""

    def __init__(self, config: Config, pulse: Pulse, metrics: Metrics) -> None:
        self._app_id = config.kafka.app_id
        self._minutes = config.notify.stalled_minutes
        self._metrics = metrics
        self._dead_man = DeadMan(self._minutes * 60.0, time.monotonic())
        self._summaries = 0
        self._pulse = pulse

    @property
    def troubles(self) -> list[Trouble]:
        """What began and is not over."""
        return [trouble for trouble in TROUBLES if trouble in self._dead_man.open]

    def begin(self, troubles: list[str], silent_s: float) -> list[Message]:
        """Begin to watch. `troubles`: those an earlier process noted; `silent_s`: since when none has committed.

        An earlier process that could reach no broker could note nothing: after a long silence its word is taken back.
        """
        self._dead_man = DeadMan(self._minutes * 60.0, time.monotonic())
        self._dead_man.open = {trouble for trouble in TROUBLES if trouble in troubles}
        lost = silent_s >= self._minutes * 60.0 and "unreachable" not in troubles
        return [self._message("unreachable", "resolve")] if lost else []

    def open(self) -> list[Message]:
        """What the pagers must be told again where it may not have reached them, or been forgotten."""
        return [self._message(trouble, "trigger") for trouble in self.troubles]

    def news(self) -> list[Message]:
        """What the pagers are to be told now."""
        count = self._pulse.summaries
        turns = self._dead_man.step(
            time.monotonic(), connected=self._pulse.connected, summaries=count > self._summaries
        )
        self._summaries = count
        self._metrics.stalled.set("stalled" in self._dead_man.open)
        self._metrics.unreachable.set("unreachable" in self._dead_man.open)
        return [self._message(turn.trouble, turn.status) for turn in turns]

    def _message(self, trouble: Trouble, status: Turning) -> Message:
        return own_message(trouble, status, self._app_id, time.time_ns() // 1_000_000, self._minutes)
