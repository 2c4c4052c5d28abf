"""What an incident amounts to: the effects of its signals, its level, its severity."""

import math

from leeboard.detectors.core.budget import SEVERE_EVENTS, SEVERE_NATS
from leeboard.pipelines.signals import CONTEXT, Signal
from leeboard.pipelines.watch.families.bank import Bank
from leeboard.pipelines.watch.state.keys import DetectorKey
from leeboard.pipelines.watch.state.scope import Incident, Scope, Shift
from leeboard.schemas import NO_ERROR
from leeboard.schemas.alert import Severity

#: the gate asks for at most exp(h) above the page level: milestones beyond that are no news to it
MAX_MILESTONE = 7
#: a signal that may not page counts for at most so many nats less than the page level
NOTICE_ONLY_NATS = 1.0


class Levels:
    """Reads them from the detectors."""

    def __init__(self, bank: Bank, page_nats: float) -> None:
        self._bank = bank
        self._page_nats = page_nats

    def signal_of(self, scope: Scope, key: DetectorKey) -> Signal:
        """The signal of a detector: a configured one, or one of the scope's own scores."""
        return self._bank.of(key).signal(scope, key)

    def is_context(self, scope: Scope, shift: Shift) -> bool:
        """Does a shift only give context?"""
        return self.signal_of(scope, shift.key).channel in CONTEXT

    def sd_of(self, scope: Scope, key: DetectorKey, signal: Signal) -> float:
        """What an effect in transformed units is divided by to be in the measure of its signal."""
        return self._bank.of(key).frozen_sd(scope.slot, key) if signal.measure == "sd" else 1.0

    def floor(self, scope: Scope, key: DetectorKey, signal: Signal) -> float:
        """The effect floor in transformed units; a small step where the signal never pages."""
        if signal.measure == "relative":
            return math.log1p(min(signal.floor, 1.0))
        if signal.measure == "sd":
            return signal.floor * self._bank.of(key).sd(scope.slot, key)
        return min(signal.floor, 0.05)

    def milestone(self, level_nats: float) -> int:
        """Whole nats above the page level, -1 below it."""
        return min(max(math.floor(level_nats - self._page_nats), -1), MAX_MILESTONE)

    def effect_of(self, scope: Scope, shift: Shift) -> float:
        """Effect of a shift in the measure of its signal."""
        if shift.evidence is not None:
            return shift.evidence.effect
        effect = self._bank.of(shift.key).effect(scope.slot, shift.key).effect
        sd = self.sd_of(scope, shift.key, self.signal_of(scope, shift.key))
        return effect / sd if sd > 0 else 0.0

    def level(self, scope: Scope, incident: Incident) -> tuple[float, bool]:
        """Natural log of the incident's level in calls of the scope, and whether an effect passed its floor.

        Where some shift is beyond its floor, only such shifts count. A shift that was carried over from a superseded
        incident counts only for what it has gained since. What text signals say of outputs is no reason to page while
        the inputs have moved as well: of inputs of a new kind neither they nor the regression know anything.
        """
        text_shifts = [shift for shift in incident.shifts if shift.key.kind == "text"]
        unlike = [shift for shift in text_shifts if self.signal_of(scope, shift.key).channel == "input"]
        past: list[float] = []
        all_: list[float] = []
        for shift in incident.shifts:
            nats = shift.level_nats
            if shift.carried_nats is not None and self.milestone(nats) <= self.milestone(shift.carried_nats):
                nats = min(nats, float(self._bank.scopes.array[scope.slot]["notice_nats"]))
            signal = self.signal_of(scope, shift.key)
            if not signal.pages or (shift.key.kind == "text" and shift.overlaps(unlike)):
                nats = min(nats, self._page_nats - NOTICE_ONLY_NATS)
            all_.append(nats)
            if shift.evidence is None and abs(self.effect_of(scope, shift)) >= signal.floor:
                past.append(nats)
        return (max(past), True) if past else (max(all_, default=0.0), False)

    def severity(self, scope: Scope, incident: Incident, sequence: int) -> Severity:
        """info: a notice; warning: the page level is reached; critical: a large effect, seen for 20 calls."""
        for shift in incident.shifts:
            severe = self.signal_of(scope, shift.key).severe
            if (
                severe is not None
                and shift.category != NO_ERROR
                and shift.carried_nats is None
                and shift.evidence is None
                and self.effect_of(scope, shift) >= severe
                and shift.signal_nats >= SEVERE_NATS
                and sequence - shift.change.estimate + 1 >= SEVERE_EVENTS
            ):
                return "critical"
        level, passed = self.level(scope, incident)
        return "warning" if passed and level >= self._page_nats else "info"
