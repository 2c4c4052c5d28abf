"""The life of an incident: signals fire, return and move again; one scope has at most one open incident.

    watching --fired--> open --all returned--> resolved (recovered)
                        open --accept/1, announced, held for accept_days, or too small--> resolved (accepted)
                        open --another change, not overlapping--> resolved (superseded), and a new one is triggered

What gives context (identity, coverage) is named in an incident but does not keep it open.

Pure: what it needs of a call comes as `CallPoint`; what it decides leaves as `Transition`s, and `alerts` writes them.
"""

import hashlib
import math
from dataclasses import dataclass

import numpy as np
from leeboard.detectors import Evidence
from leeboard.detectors.core.budget import SEVERE_EVENTS
from leeboard.detectors.core.lifecycle import BACK, FIRED, LEVEL, NEXT, RETURNED
from leeboard.pipelines.units import DAY_MS, HOUR_MS, MINUTE_MS
from leeboard.pipelines.watch.families.bank import Bank
from leeboard.pipelines.watch.settings import EngineSettings
from leeboard.pipelines.watch.state.history import BEFORE_CALLS
from leeboard.pipelines.watch.state.keys import DetectorKey
from leeboard.pipelines.watch.state.scope import SLACK_CALLS, Incident, Interval, Scope, Shift
from leeboard.schemas.alert import Resolution, Severity, Status
from msgspec.structs import replace

from .levels import MAX_MILESTONE, Levels

#: calls after the change at which an incident is checked, then at each doubling
CHECKS = (SEVERE_EVENTS, 50, 100, 200, 400)
#: calls that an incident of an announced change, or of context only, stays open
ANNOUNCED_CALLS = 400
#: calls that an incident stays open whose effects are all below their floors
IMMATERIAL_CALLS = 800
#: calls after which an alarm of a River detector ends
RIVER_CALLS = 400
#: a change this close to a deploy belongs to it: calls and scope time after the announcement
DEPLOY_CALLS = 200
DEPLOY_MS = HOUR_MS
UPDATE_MS = 15 * MINUTE_MS
#: an effect is reported again when it has doubled
DOUBLED = 2.0
SEVERITIES: tuple[Severity, ...] = ("info", "warning", "critical")


@dataclass(frozen=True, slots=True)
class CallPoint:
    """The call at which a decision is due."""

    sequence: int
    call_id: str
    time: int


@dataclass(frozen=True, slots=True)
class Transition:
    """Something to report of an incident."""

    status: Status
    incident: Incident
    resolution: Resolution | None = None


class Incidents:
    """Decides for every scope; the state is in the scopes."""

    def __init__(self, bank: Bank, settings: EngineSettings, page_nats: float, fingerprint: str) -> None:
        self._bank = bank
        self._page_nats = page_nats
        self.levels = Levels(bank, page_nats)
        self._fingerprint = fingerprint
        self._accept_ms = round(settings.watch.accept_days * DAY_MS)

    def decide(
        self,
        scope: Scope,
        reported: list[tuple[DetectorKey, int]],
        alarms: list[tuple[DetectorKey, Evidence]],
        point: CallPoint,
    ) -> list[Transition]:
        """What the detectors' codes and River's alarms at this call, and the passing of calls and time, lead to."""
        steps: list[Transition] = []
        for key, code in reported:
            if code == RETURNED:
                self._bank.of(key).restore(scope.slot, key)
                scope.retained.pop(key, None)
                self._drop_shift(scope, key)
        taken = (self._open_shift(scope, key, code, point) for key, code in reported if code in (FIRED, NEXT))
        new_shifts = [shift for shift in taken if shift is not None]
        new_shifts += [self._river_shift(scope, key, evidence, point) for key, evidence in alarms]
        if new_shifts:
            steps += self._admit(scope, new_shifts, point)
        if (incident := scope.incident) is None:
            return steps
        due = point.sequence >= incident.next_check_call or point.time >= self.accepted_time(incident)
        self._refresh_levels(scope, incident)
        if not steps and (due or any(code in (LEVEL, RETURNED) for _, code in reported)):
            steps += self._check(scope, incident, point)
        if scope.incident is not None and not self._lasting(scope, incident):
            self._accept_shifts(scope, incident.shifts)
            return [*(step for step in steps if step.status != "update"), *self._resolve(scope, incident.ends_as)]
        if due:
            incident.next_check_call = self._next_check_call(incident, point)
        return steps

    def accepted_time(self, incident: Incident) -> int:
        """Scope time from which the new level of an incident counts as normal."""
        return incident.opened_time + self._accept_ms

    def accept(self, scope: Scope) -> list[Transition]:
        """The level of every open change of the scope is normal from now on."""
        if scope.incident is not None:
            self._accept_shifts(scope, scope.incident.shifts)
        return self._resolve(scope, "accepted")

    def _close_immaterial(self, scope: Scope, incident: Incident, point: CallPoint) -> list[Transition]:
        """The change is too small to matter; the next one will be measured from where this one began."""
        for shift in incident.shifts:
            if self._bank.is_open(scope.slot, shift.key):
                if self._bank.of(shift.key).close_immaterial(scope.slot, shift.key):
                    scope.retained.setdefault(shift.key, point.time)
                else:
                    scope.retained.pop(shift.key, None)
        return self._resolve(scope, "accepted")

    def _lasting(self, scope: Scope, incident: Incident) -> list[Shift]:
        """The shifts that keep an incident open."""
        if incident.context_only:
            return incident.shifts
        return [shift for shift in incident.shifts if not self.levels.is_context(scope, shift)]

    def forget_detector(self, scope: Scope, key: DetectorKey) -> None:
        """A category loses its detector: its shift, if it has one, ends, and its incident with the next call."""
        self._drop_shift(scope, key)
        scope.retained.pop(key, None)
        if scope.incident is not None and not self._lasting(scope, scope.incident):
            self._bank.scopes.array[scope.slot]["next_check_call"] = 0

    def detectors_lost(self, scope: Scope) -> None:
        """Shifts have left the incident, their detectors are gone; without lasting ones it ends with the next call.

        It ends as accepted: what replaces these detectors learns the level of now as normal.
        """
        incident = scope.incident
        if incident is not None and not self._lasting(scope, incident):
            incident.ends_as, incident.next_check_call = "accepted", 0

    def _accept_shifts(self, scope: Scope, shifts: list[Shift]) -> None:
        """What these shifts moved to is normal from now on."""
        for shift in shifts:
            if self._bank.is_open(scope.slot, shift.key):
                self._bank.of(shift.key).accept(scope.slot, shift.key)
                scope.retained.pop(shift.key, None)

    def _shift_at(self, scope: Scope, key: DetectorKey) -> Shift | None:
        shifts = scope.incident.shifts if scope.incident is not None else []
        return next((shift for shift in shifts if shift.key == key), None)

    def _drop_shift(self, scope: Scope, key: DetectorKey) -> None:
        if scope.incident is not None:
            scope.incident.shifts = [shift for shift in scope.incident.shifts if shift.key != key]

    def _open_shift(self, scope: Scope, key: DetectorKey, code: int, point: CallPoint) -> Shift | None:
        """Open the change that a detector fired for (or the next one), and describe it.

        None for a next change that is smaller than the floor, or leads back: the shift that is open goes on.
        """
        bank, slot, family = self._bank, scope.slot, self._bank.of(key)
        signal = self.levels.signal_of(scope, key)
        signal_nats = family.fired_nats(slot, key, code)
        floor = self.levels.floor(scope, key, signal)
        if code == FIRED:
            if scope.retained.get(key, point.time) < point.time - self._accept_ms:
                del scope.retained[key]
                family.drop_retained(slot, key)
            family.open(slot, key, floor)
        else:
            known = self._shift_at(scope, key)
            before = self.levels.effect_of(scope, known) if known is not None else 0.0
            step = family.next(slot, key, floor)
            if known is not None:
                left = abs(self.levels.effect_of(scope, known))
                if abs(step) < floor or left < BACK * abs(before):
                    return None
        change = self._to_calls(scope, key, family.change(slot, key))
        family.opened(slot, key, change.estimate)
        nats = bank.nats(slot, key)
        level = max(float(bank.scopes.array[slot]["notice_nats"]), bank.level_nats(slot, key))
        bank.expect_milestone(slot, key, self._next_milestone(level))
        return Shift(
            key,
            signal.name,
            scope.names.get(key),
            change,
            level,
            max(signal_nats, level + nats),
            family.effect(slot, key).effect,
            family.detector,
        )

    def _to_calls(self, scope: Scope, key: DetectorKey, ago: tuple[int, int, int]) -> Interval:
        """A change time as call numbers; `ago`: estimate, earliest, latest, in events of the signal."""
        history, slot, family = self._bank.history, scope.slot, self._bank.of(key)
        calls = int(self._bank.scopes.array[slot]["calls"])
        which = np.flatnonzero(family.measured(slot, key, history.read_all(slot)))[::-1]
        oldest = history.oldest(slot)
        numbers = []
        for events in ago:
            if events < len(which):
                numbers.append(oldest + int(which[events]))
            else:  # older than the ring: as many calls a signal event as over the scope's life
                seen = int(family.record(slot, key)["events"])
                numbers.append(max(1, calls - round(events * calls / max(seen, 1))))
        return Interval(numbers[0], min(numbers[0], numbers[1]), max(numbers[0], numbers[2]))

    def _river_shift(self, scope: Scope, key: DetectorKey, evidence: Evidence, point: CallPoint) -> Shift:
        """A shift that a River detector found: it claims no level."""
        signal = self.levels.signal_of(scope, key)
        interval = Interval(point.sequence, max(1, point.sequence - evidence.change.earliest), point.sequence)
        return Shift(key, signal.name, None, interval, 0.0, 0.0, evidence.effect, evidence.detector, evidence=evidence)

    def _admit(self, scope: Scope, new_shifts: list[Shift], point: CallPoint) -> list[Transition]:
        """Put shifts into the open incident, or open one, or supersede the one that is open."""
        steps: list[Transition] = []
        carried: list[Shift] = []
        incident = scope.incident
        moved = {shift.key for shift in new_shifts}
        substantive = [
            shift for shift in new_shifts if shift.evidence is None and not self.levels.is_context(scope, shift)
        ]
        if (
            incident is not None
            and (substantive or incident.context_only)
            and self._is_disjoint(scope, incident, substantive or new_shifts)
        ):
            rest = [shift for shift in incident.shifts if shift.key not in moved]
            carried = [s for s in rest if not self.levels.is_context(scope, s) or s.overlaps(substantive)]
            self._accept_shifts(scope, [shift for shift in rest if shift not in carried])
            steps += self._resolve(scope, "superseded")
            carried = [replace(shift, carried_nats=shift.level_nats) for shift in carried]  # the old incident keeps its
            incident = None
        if incident is None:
            incident = scope.incident = self._open(scope, new_shifts, carried, point)
            self._refresh_levels(scope, incident)
            return [*steps, Transition("trigger", incident)]
        incident.shifts = [shift for shift in incident.shifts if shift.key not in moved] + new_shifts
        incident.context_only = all(self.levels.is_context(scope, shift) for shift in incident.shifts)
        self._refresh_levels(scope, incident)
        return [Transition("update", incident)]

    def _is_disjoint(self, scope: Scope, incident: Incident, new_shifts: list[Shift]) -> bool:
        """Is what moved another change than that of the open incident?

        Context does not join a disjoint change: a model switch weeks after the incident is no part of its change.
        """
        known = self._lasting(scope, incident)
        return not any(shift.change.overlaps(incident.change) or shift.overlaps(known) for shift in new_shifts)

    def _open(self, scope: Scope, new_shifts: list[Shift], carried: list[Shift], point: CallPoint) -> Incident:
        bank, slot = self._bank, scope.slot
        text = "\0".join((scope.key, self._fingerprint, point.call_id, str(point.sequence)))
        key = "leeboard-" + hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
        change = max(new_shifts, key=lambda shift: shift.level_nats).change
        first = max(change.earliest - BEFORE_CALLS, bank.history.oldest(slot))
        before, calls = bank.history.label_shares(scope, first, change.earliest - 1)
        return Incident(
            key,
            point.sequence,
            point.call_id,
            point.time,
            change,
            Interval(*(bank.history.time_of(slot, call) for call in (change.estimate, change.earliest, change.latest))),
            [*new_shifts, *carried],
            announced=self._was_announced(scope, change),
            next_check_call=change.estimate + CHECKS[0],
            context_only=all(self.levels.is_context(scope, shift) for shift in (*new_shifts, *carried)),
            before=before,
            before_calls=calls,
            baseline_start=bank.history.time_of(slot, first),
            baseline_end=bank.history.time_of(slot, max(change.earliest - 1, first)),
        )

    def _was_announced(self, scope: Scope, change: Interval) -> bool:
        """Did a `deploy/1` shortly before the change announce it?"""
        return any(
            deploy.sequence - SLACK_CALLS <= change.latest
            and (
                change.earliest <= deploy.sequence + DEPLOY_CALLS
                or self._bank.history.time_of(scope.slot, change.earliest) <= deploy.time + DEPLOY_MS
            )
            for deploy in scope.deploys
        )

    def _refresh_levels(self, scope: Scope, incident: Incident) -> None:
        """Raise the levels of the shifts to where the evidence stands."""
        for shift in incident.shifts:
            if self._bank.is_open(scope.slot, shift.key):
                level = self._bank.level_nats(scope.slot, shift.key)
                if level > shift.level_nats:
                    shift.level_nats = level
                    shift.signal_nats = max(shift.signal_nats, level + self._bank.nats(scope.slot, shift.key))

    def _check(self, scope: Scope, incident: Incident, point: CallPoint) -> list[Transition]:
        """Is there something new to report?"""
        held_calls = point.sequence - incident.opened_sequence
        expected = incident.announced or incident.context_only
        if point.time >= self.accepted_time(incident) or (expected and held_calls >= ANNOUNCED_CALLS):
            return self.accept(scope)
        level, passed = self.levels.level(scope, incident)
        incident.passed_floor |= passed
        if held_calls >= IMMATERIAL_CALLS and not incident.passed_floor:
            return self._close_immaterial(scope, incident, point)
        news = self._drop_old_alarms(incident, point)
        milestone = self.levels.milestone(level)
        if milestone > incident.milestone:
            incident.milestone = milestone
            news = True
        if SEVERITIES.index(self.levels.severity(scope, incident, point.sequence)) > SEVERITIES.index(
            incident.severity
        ):
            news = True
        for shift in incident.shifts:
            effect = self.levels.effect_of(scope, shift)
            if abs(effect) >= DOUBLED * abs(shift.reported_effect) and abs(effect) > 0.01:
                news = True
            if self._bank.is_open(scope.slot, shift.key):
                self._bank.expect_milestone(scope.slot, shift.key, self._next_milestone(shift.level_nats))
        due = point.sequence >= incident.next_check_call and point.time >= incident.last_alert_time + UPDATE_MS
        return [Transition("update", incident)] if news or due else []

    def _drop_old_alarms(self, incident: Incident, point: CallPoint) -> bool:
        """River's alarms have no return: they end after RIVER_CALLS calls. True if one did."""
        kept = [s for s in incident.shifts if s.evidence is None or point.sequence < s.change.estimate + RIVER_CALLS]
        incident.shifts, ended = kept, len(kept) < len(incident.shifts)
        return ended

    def _next_check_call(self, incident: Incident, point: CallPoint) -> int:
        since, held_calls = point.sequence - incident.change.estimate, point.sequence - incident.opened_sequence
        after = next((calls for calls in CHECKS if calls > since), CHECKS[-1])
        while after <= since:
            after *= 2
        ends = [incident.opened_sequence + calls for calls in (ANNOUNCED_CALLS, IMMATERIAL_CALLS) if calls > held_calls]
        return min([incident.change.estimate + after, *ends])

    def _next_milestone(self, level_nats: float) -> float:
        """Level, natural log, at which a shift is checked again."""
        reported = self.levels.milestone(level_nats)
        return self._page_nats + reported + 1 if reported < MAX_MILESTONE else math.inf

    def _resolve(self, scope: Scope, resolution: Resolution) -> list[Transition]:
        incident, scope.incident = scope.incident, None
        return [Transition("resolve", incident, resolution)] if incident is not None else []
