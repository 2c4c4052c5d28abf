"""The life of an incident: signals fire, return and move again; one scope has at most one open incident.

    watching --fired--> open --all returned--> resolved (recovered)
                        open --accept/1, announced, held for accept_days, or too small--> resolved (accepted)
                        open --another change, not overlapping--> resolved (superseded), and a new one is triggered

What gives context (identity, coverage) is named in an incident but does not keep it open.

Pure: what it needs of a call comes as `CallPoint`; what it decides leaves as `Transition`s, which `alerts` turns into records.
"""

import hashlib
import math
from dataclasses import dataclass

from leeboard.detectors import Evidence
from leeboard.detectors.core.budget import SEVERE_CALLS
from leeboard.detectors.core.lifecycle import BACK, FIRED, LEVEL, NEXT, RETURNED
from leeboard.pipelines.signals import CONTEXT, Signal, Signals
from leeboard.pipelines.watch.families.bank import Bank, DetectorKey
from leeboard.pipelines.watch.settings import EngineSettings
from leeboard.pipelines.watch.state.history import (
    BEFORE_CALLS,
    counted_since,
    kept_from,
    label_shares,
    time_of,
    to_calls,
)
from leeboard.pipelines.watch.state.scope import SLACK_CALLS, Incident, Interval, Scope, Shift
from leeboard.schemas.alert import Resolution, Severity, Status
from msgspec.structs import replace

from .attribution import TEXT_DETECTOR
from .levels import MAX_MILESTONE, Levels

#: calls after the change at which an incident is looked at, then at each doubling
CHECKS = (SEVERE_CALLS, 50, 100, 200, 400)
#: calls that an incident of an announced change, or of context only, stays open
ANNOUNCED_CALLS = 400
#: calls that an incident stays open whose effects are all below their floors
IMMATERIAL_CALLS = 800
#: calls after which an alarm of a River detector ends
RIVER_CALLS = 400
#: a change this close to a deploy belongs to it: calls and scope time after the announcement
DEPLOY_CALLS = 200
DEPLOY_MS = 3600 * 1000
UPDATE_MS = 15 * 60 * 1000
DAY_MS = 86_400_000
#: an effect is told again when it has doubled
DOUBLED = 2.0
#: how the detector of a kind of signal is told
DETECTORS = {"numeric": "numeric", "binary": "share", "categorical": "share", "text": TEXT_DETECTOR}
SEVERITIES: tuple[Severity, ...] = ("info", "warning", "critical")


@dataclass(frozen=True, slots=True)
class CallPoint:
    """The call at which a decision is due."""

    sequence: int
    call_id: str
    time: int


@dataclass(frozen=True, slots=True)
class Transition:
    """Something to tell of an incident."""

    status: Status
    incident: Incident
    resolution: Resolution | None = None


class Incidents(Levels):
    """Decides for every scope; the state is in the scopes."""

    def __init__(
        self, bank: Bank, signals: Signals, settings: EngineSettings, page_nats: float, fingerprint: str
    ) -> None:
        super().__init__(bank, signals, page_nats)
        self._fingerprint = fingerprint
        self._accept_ms = round(settings.watch.accept_days * DAY_MS)

    def decide(
        self,
        scope: Scope,
        reported: list[tuple[DetectorKey, int]],
        alarms: list[tuple[DetectorKey, Evidence]],
        moment: CallPoint,
    ) -> list[Transition]:
        """What the detectors' codes and River's alarms at this call, and the passing of calls and time, lead to."""
        steps: list[Transition] = []
        for place, code in reported:
            if code == RETURNED:
                self._bank.restore(scope.slot, place)
                scope.retained.pop(place, None)
                self._drop_shift(scope, place)
        taken = (self._open_shift(scope, place, code, moment) for place, code in reported if code in (FIRED, NEXT))
        new_shifts = [shift for shift in taken if shift is not None]
        new_shifts += [self._river_shift(scope, place, evidence, moment) for place, evidence in alarms]
        if new_shifts:
            steps += self._admit(scope, new_shifts, moment)
        if (incident := scope.incident) is None:
            return steps
        due = moment.sequence >= incident.next_check_call or moment.time >= self.accepted_time(incident)
        self._refresh_levels(scope, incident)
        if not steps and (due or any(code in (LEVEL, RETURNED) for _, code in reported)):
            steps += self._check(scope, incident, moment)
        if scope.incident is not None and not self._lasting(scope, incident):
            self._accept_shifts(scope, incident.shifts)
            return [*(step for step in steps if step.status != "update"), *self._resolve(scope, "recovered")]
        if due:
            incident.next_check_call = self._next_check_call(incident, moment)
        return steps

    def accepted_time(self, incident: Incident) -> int:
        """Scope time from which the new level of an incident counts as normal."""
        return incident.opened_time + self._accept_ms

    def accept(self, scope: Scope) -> list[Transition]:
        """The level of every open change of the scope is normal from now on."""
        if scope.incident is not None:
            self._accept_shifts(scope, scope.incident.shifts)
        return self._resolve(scope, "accepted")

    def _close_immaterial(self, scope: Scope, incident: Incident, moment: CallPoint) -> list[Transition]:
        """The change is too small to matter; the next one will be measured from where this one began."""
        for shift in incident.shifts:
            if self._bank.is_open(scope.slot, shift.place):
                if self._bank.close_immaterial(scope.slot, shift.place):
                    scope.retained.setdefault(shift.place, moment.time)
                else:
                    scope.retained.pop(shift.place, None)
        return self._resolve(scope, "accepted")

    def _lasting(self, scope: Scope, incident: Incident) -> list[Shift]:
        """The shifts that keep an incident open."""
        if incident.context_only:
            return incident.shifts
        return [shift for shift in incident.shifts if not self.is_context(scope, shift)]

    def is_context(self, scope: Scope, shift: Shift) -> bool:
        """Does a shift only give context?"""
        return self.signal_of(scope, shift.place).channel in CONTEXT

    def forget_place(self, scope: Scope, place: DetectorKey) -> None:
        """A category gives its place up: its shift, if it has one, ends, and its incident with the next call."""
        self._drop_shift(scope, place)
        scope.retained.pop(place, None)
        if scope.incident is not None and not self._lasting(scope, scope.incident):
            self._bank.scopes.array[scope.slot]["next_check_call"] = 0

    def _accept_shifts(self, scope: Scope, shifts: list[Shift]) -> None:
        """What these shifts moved to is normal from now on."""
        for shift in shifts:
            if self._bank.is_open(scope.slot, shift.place):
                self._bank.accept(scope.slot, shift.place)
                scope.retained.pop(shift.place, None)

    def _shift_at(self, scope: Scope, place: DetectorKey) -> Shift | None:
        shifts = scope.incident.shifts if scope.incident is not None else []
        return next((shift for shift in shifts if shift.place == place), None)

    def _drop_shift(self, scope: Scope, place: DetectorKey) -> None:
        if scope.incident is not None:
            scope.incident.shifts = [shift for shift in scope.incident.shifts if shift.place != place]

    def _open_shift(self, scope: Scope, place: DetectorKey, code: int, moment: CallPoint) -> Shift | None:
        """Open the change that a detector fired for (or the next one), and describe it.

        None for a next change that is smaller than the floor, or leads back: the shift that is open goes on.
        """
        bank, slot = self._bank, scope.slot
        signal = self.signal_of(scope, place)
        signal_nats = bank.fired_nats(slot, place, code)
        floor = self._floor(scope, place, signal)
        if code == FIRED:
            if scope.retained.get(place, moment.time) < moment.time - self._accept_ms:
                del scope.retained[place]
                bank.drop_retained(slot, place)
            bank.open_change(slot, place, floor)
        else:
            known = self._shift_at(scope, place)
            before = self.effect_of(scope, known) if known is not None else 0.0
            step = bank.next_change(slot, place, floor)
            if known is not None and (abs(step) < floor or abs(self.effect_of(scope, known)) < BACK * abs(before)):
                return None
        change = to_calls(bank, scope, place, bank.change(slot, place))
        if place.kind == "text":
            bank.texts.split_counts(slot, place.column, counted_since(bank, slot, place, change.estimate))
        nats = bank.nats(slot, place)
        level = max(float(bank.scopes.array[slot]["notice_nats"]), bank.level_nats(slot, place))
        bank.expect_milestone(slot, place, self._next_milestone(level))
        return Shift(
            place,
            signal.name,
            scope.names.get(place),
            change,
            level,
            max(signal_nats, level + nats),
            bank.effect(slot, place).effect,
            DETECTORS[place.kind],
        )

    def _river_shift(self, scope: Scope, place: DetectorKey, evidence: Evidence, moment: CallPoint) -> Shift:
        """A shift that a River detector found: it claims no level."""
        signal = self.signal_of(scope, place)
        interval = Interval(moment.sequence, max(1, moment.sequence - evidence.change.earliest), moment.sequence)
        return Shift(
            place, signal.name, None, interval, 0.0, 0.0, evidence.effect, evidence.detector, evidence=evidence
        )

    def _floor(self, scope: Scope, place: DetectorKey, signal: Signal) -> float:
        """The effect floor in transformed units; a small step where the signal never pages."""
        if signal.measure == "relative":
            return math.log1p(min(signal.floor, 1.0))
        if signal.measure == "sd":
            return signal.floor * self._bank.sd(scope.slot, place)
        return min(signal.floor, 0.05)

    def _admit(self, scope: Scope, new_shifts: list[Shift], moment: CallPoint) -> list[Transition]:
        """Put shifts into the open incident, or open one, or supersede the one that is open."""
        steps: list[Transition] = []
        carried: list[Shift] = []
        incident = scope.incident
        moved = {shift.place for shift in new_shifts}
        substantive = [shift for shift in new_shifts if shift.evidence is None and not self.is_context(scope, shift)]
        if (
            incident is not None
            and (substantive or incident.context_only)
            and self._is_disjoint(scope, incident, substantive or new_shifts)
        ):
            rest = [shift for shift in incident.shifts if shift.place not in moved]
            carried = [s for s in rest if not self.is_context(scope, s) or s.overlaps(substantive)]
            self._accept_shifts(scope, [shift for shift in rest if shift not in carried])
            steps += self._resolve(scope, "superseded")
            carried = [replace(shift, carried_nats=shift.level_nats) for shift in carried]  # the old incident keeps its
            incident = None
        if incident is None:
            incident = scope.incident = self._open(scope, new_shifts, carried, moment)
            self._refresh_levels(scope, incident)
            return [*steps, Transition("trigger", incident)]
        incident.shifts = [shift for shift in incident.shifts if shift.place not in moved] + new_shifts
        incident.context_only = all(self.is_context(scope, shift) for shift in incident.shifts)
        self._refresh_levels(scope, incident)
        return [Transition("update", incident)]

    def _is_disjoint(self, scope: Scope, incident: Incident, new_shifts: list[Shift]) -> bool:
        """Is what moved another change than that of the open incident?

        Context does not join what lies apart: a model switch weeks after the incident is no part of its change.
        """
        known = self._lasting(scope, incident)
        return not any(shift.change.overlaps(incident.change) or shift.overlaps(known) for shift in new_shifts)

    def _open(self, scope: Scope, new_shifts: list[Shift], carried: list[Shift], moment: CallPoint) -> Incident:
        bank, slot = self._bank, scope.slot
        text = "\0".join((scope.key, self._fingerprint, moment.call_id, str(moment.sequence)))
        key = "leeboard-" + hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
        change = max(new_shifts, key=lambda shift: shift.level_nats).change
        first = max(change.earliest - BEFORE_CALLS, kept_from(bank, slot))
        before, calls = label_shares(bank, scope, first, change.earliest - 1)
        return Incident(
            key,
            moment.sequence,
            moment.call_id,
            moment.time,
            change,
            Interval(*(time_of(bank, slot, call) for call in (change.estimate, change.earliest, change.latest))),
            [*new_shifts, *carried],
            announced=self._was_announced(scope, change),
            next_check_call=change.estimate + CHECKS[0],
            context_only=all(self.is_context(scope, shift) for shift in (*new_shifts, *carried)),
            before=before,
            before_calls=calls,
            baseline_start=time_of(bank, slot, first),
            baseline_end=time_of(bank, slot, max(change.earliest - 1, first)),
        )

    def _was_announced(self, scope: Scope, change: Interval) -> bool:
        """Did a `deploy/1` shortly before the change announce it?"""
        return any(
            deploy.sequence - SLACK_CALLS <= change.latest
            and (
                change.earliest <= deploy.sequence + DEPLOY_CALLS
                or time_of(self._bank, scope.slot, change.earliest) <= deploy.time + DEPLOY_MS
            )
            for deploy in scope.deploys
        )

    def _refresh_levels(self, scope: Scope, incident: Incident) -> None:
        """Raise the levels of the shifts to where the evidence stands."""
        for shift in incident.shifts:
            if self._bank.is_open(scope.slot, shift.place):
                level = self._bank.level_nats(scope.slot, shift.place)
                if level > shift.level_nats:
                    shift.level_nats = level
                    shift.signal_nats = max(shift.signal_nats, level + self._bank.nats(scope.slot, shift.place))

    def _check(self, scope: Scope, incident: Incident, moment: CallPoint) -> list[Transition]:
        """Is there something new to tell?"""
        held_calls = moment.sequence - incident.opened_sequence
        expected = incident.announced or incident.context_only
        if moment.time >= self.accepted_time(incident) or (expected and held_calls >= ANNOUNCED_CALLS):
            return self.accept(scope)
        level, passed = self.level(scope, incident)
        incident.passed_floor |= passed
        if held_calls >= IMMATERIAL_CALLS and not incident.passed_floor:
            return self._close_immaterial(scope, incident, moment)
        news = self._drop_old_alarms(incident, moment)
        milestone = self.milestone(level)
        if milestone > incident.milestone:
            incident.milestone = milestone
            news = True
        if SEVERITIES.index(self.severity(scope, incident, moment.sequence)) > SEVERITIES.index(incident.severity):
            news = True
        for shift in incident.shifts:
            effect = self.effect_of(scope, shift)
            if abs(effect) >= DOUBLED * abs(shift.reported_effect) and abs(effect) > 0.01:
                news = True
            if self._bank.is_open(scope.slot, shift.place):
                self._bank.expect_milestone(scope.slot, shift.place, self._next_milestone(shift.level_nats))
        due = moment.sequence >= incident.next_check_call and moment.time >= incident.last_alert_time + UPDATE_MS
        return [Transition("update", incident)] if news or due else []

    def _drop_old_alarms(self, incident: Incident, moment: CallPoint) -> bool:
        """River's alarms have no return: they end after RIVER_CALLS calls. True if one did."""
        kept = [s for s in incident.shifts if s.evidence is None or moment.sequence < s.change.estimate + RIVER_CALLS]
        incident.shifts, ended = kept, len(kept) < len(incident.shifts)
        return ended

    def _next_check_call(self, incident: Incident, moment: CallPoint) -> int:
        since, held_calls = moment.sequence - incident.change.estimate, moment.sequence - incident.opened_sequence
        after = next((look for look in CHECKS if look > since), CHECKS[-1])
        while after <= since:
            after *= 2
        ends = [incident.opened_sequence + calls for calls in (ANNOUNCED_CALLS, IMMATERIAL_CALLS) if calls > held_calls]
        return min([incident.change.estimate + after, *ends])

    def _next_milestone(self, level_nats: float) -> float:
        """Level, natural log, at which a shift is looked at again."""
        reported = self.milestone(level_nats)
        return self._page_nats + reported + 1 if reported < MAX_MILESTONE else math.inf

    def _resolve(self, scope: Scope, resolution: Resolution) -> list[Transition]:
        incident, scope.incident = scope.incident, None
        return [Transition("resolve", incident, resolution)] if incident is not None else []
