"""From an incident's state to `alert/1`. Numbers are rounded to 6 significant digits."""

import hashlib
import math
from collections.abc import Sequence
from urllib.parse import quote

from leeboard.pipelines.watch.families.bank import Bank
from leeboard.pipelines.watch.incidents.text_evidence import shown_calls, text_shifts
from leeboard.pipelines.watch.rounding import rounded
from leeboard.pipelines.watch.settings import EngineSettings
from leeboard.pipelines.watch.state.scope import Incident, RecentId, Scope, Shift
from leeboard.schemas import (
    FEATURES,
    Alert,
    AlertEvidence,
    Baseline,
    Change,
    Example,
    LabelShift,
    Position,
    Positions,
    SignalShift,
    Status,
)
from leeboard.schemas.alert import Resolution
from msgspec import structs

from .attribution import moved_labels, verdict
from .lifecycle import CallPoint, Incidents, Transition

#: signals and examples of an alert; of the examples, those that show what moved in texts
MAX_SIGNALS = 24
MAX_EXAMPLES = 8
MAX_SHOWN = 3


class AlertWriter:
    """Writes alerts; knows the versions and the configuration that stand in each."""

    def __init__(
        self, bank: Bank, incidents: Incidents, settings: EngineSettings, fingerprint: str, version: str, numerics: str
    ) -> None:
        self._bank = bank
        self._levels = incidents.levels
        self._settings = settings
        self._fingerprint = fingerprint
        self._version = version
        self._numerics = numerics

    def write(self, scope: Scope, step: Transition, point: CallPoint, recent: Sequence[RecentId]) -> Alert:
        """The alert for a step; notes in the incident what was reported."""
        incident = step.incident
        if step.status == "resolve" and incident.last is not None:
            return self._repeat(scope, incident, point, "resolve", step.resolution)
        signals = [self._signal(scope, shift) for shift in _by_level(incident)]
        labels, after, calls_since = self._labels(scope, incident, point)
        level, passed = self._levels.level(scope, incident)
        severity = self._levels.severity(scope, incident, point.sequence)
        texts = text_shifts(self._bank.text.bank, scope, incident)
        answer = verdict(signals, labels, texts, calls_since, incident.before_calls)
        alert = Alert(
            id=self._id(scope, incident),
            dedup_key=incident.dedup_key,
            status=step.status,
            severity=severity,
            scope=scope.key,
            time=point.time,
            opened_at=incident.opened_time,
            level=rounded(math.exp(level)),
            floor_passed=passed,
            announced=incident.announced,
            muted=point.time < scope.muted_until,
            confirmed=incident.confirmed,
            young=point.sequence < math.exp(level),
            change=self._change(incident, point),
            verdict=answer,
            signals=signals,
            labels=labels,
            served_model=_most_common(after.get("model_served", {})),
            examples=self._examples(scope, incident, point, recent),
            texts=texts,
            evidence=self._evidence(scope, incident, point),
            links={name: self._fill(template, scope, incident) for name, template in self._settings.links.items()},
            runbook_url=self._fill(self._settings.runbook_url, scope, incident) if self._settings.runbook_url else None,
        )
        incident.alerts += 1
        incident.severity = severity
        incident.last_alert_time = point.time
        incident.passed_floor |= passed
        incident.milestone = self._levels.milestone(level)
        for shift in incident.shifts:
            shift.reported_effect = self._levels.effect_of(scope, shift)
        incident.last = alert
        return alert

    def confirm(self, scope: Scope, incident: Incident, point: CallPoint) -> Alert:
        """The update that carries to the gate what a person said of a page."""
        return self._repeat(scope, incident, point, "update", None)

    def _repeat(
        self, scope: Scope, incident: Incident, point: CallPoint, status: Status, resolution: Resolution | None
    ) -> Alert:
        """The newest alert of an incident again, with another status."""
        assert incident.last is not None
        last = incident.last
        resolved = status == "resolve"
        since = max(point.sequence - incident.change.estimate + 1, 0)
        alert = structs.replace(
            last,
            id=self._id(scope, incident),
            status=status,
            time=point.time,
            resolved_at=point.time if resolved else last.resolved_at,
            resolution=resolution if resolved else last.resolution,
            muted=point.time < scope.muted_until,
            confirmed=incident.confirmed,
            change=structs.replace(last.change, calls_since=since) if resolved else last.change,
            evidence=self._evidence(scope, incident, point),
        )
        incident.alerts += 1
        incident.last = alert
        return alert

    def _id(self, scope: Scope, incident: Incident) -> str:
        text = "\0".join((scope.key, self._fingerprint, incident.opened_call, incident.dedup_key, str(incident.alerts)))
        return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()

    def _signal(self, scope: Scope, shift: Shift) -> SignalShift:
        signal = self._levels.signal_of(scope, shift.key)
        log10_level = rounded(shift.level_nats / math.log(10.0))
        found = shift.evidence
        if found is not None:
            low, high = (rounded(x) for x in found.effect_interval)
            return SignalShift(
                name=shift.name,
                channel=signal.channel,
                direction=found.direction,
                before=rounded(found.before),
                after=rounded(found.after),
                unit=signal.unit,
                effect=rounded(found.effect),
                effect_interval=(low, high),
                log10_level=0.0,
                guarantee=found.guarantee,
                root=True,
                detector=found.detector,
                n_before=found.n_before,
                n_after=found.n_after,
            )
        family = self._bank.of(shift.key)
        effect = family.effect(scope.slot, shift.key)
        sd = self._levels.sd_of(scope, shift.key, signal)
        scale = 1.0 / sd if sd > 0 else 1.0
        before, after = effect.before, effect.after
        if signal.unit == "ratio":
            before, after = 1.0, 1.0 + effect.effect
        unit, category = signal.unit, shift.category
        leader = family.leader(scope.slot, shift.key)
        if leader is not None:
            feature = FEATURES[leader]
            unit, category = feature.unit, feature.name
        return SignalShift(
            name=shift.name,
            channel=signal.channel,
            direction=effect.direction,
            before=rounded(before),
            after=rounded(after),
            unit=unit,
            effect=rounded(effect.effect * scale),
            effect_interval=(rounded(effect.low * scale), rounded(effect.high * scale)),
            log10_level=log10_level,
            guarantee=family.guarantee(scope.slot, shift.key),
            root=True,
            detector=shift.detector,
            n_before=effect.n_before,
            n_after=effect.n_after,
            category=category,
        )

    def _labels(
        self, scope: Scope, incident: Incident, point: CallPoint
    ) -> tuple[list[LabelShift], dict[str, dict[str, float]], int]:
        after, calls = self._bank.history.label_shares(scope, incident.change.estimate, point.sequence)
        moved = moved_labels(incident.before, incident.before_calls, after, calls)
        shifts = [
            LabelShift(
                label=x.label, value=x.value, before=rounded(x.before), after=rounded(x.after), first_seen=x.first_seen
            )
            for x in moved
        ]
        return shifts, after, calls

    def _change(self, incident: Incident, point: CallPoint) -> Change:
        return Change(
            estimate=incident.change_time.estimate,
            earliest=incident.change_time.earliest,
            latest=incident.change_time.latest,
            calls_since=max(point.sequence - incident.change.estimate + 1, 0),
        )

    def _examples(
        self, scope: Scope, incident: Incident, point: CallPoint, recent: Sequence[RecentId]
    ) -> list[Example]:
        """The call at which the evidence was enough, the first changed call, those that show it, the newest ones."""
        known = {item.sequence: item for item in recent}
        wanted = [
            (incident.opened_sequence, "the evidence reached the notice level at this call"),
            (incident.change.estimate, "estimated first call of the change"),
            *shown_calls(self._bank.text.bank, scope, incident, recent)[:MAX_SHOWN],
            (point.sequence, "the call of this alert"),
            (point.sequence - 1, "recent call after the change"),
            (point.sequence - 2, "recent call after the change"),
        ]
        examples: dict[int, Example] = {}
        for sequence, why in wanted:
            item = known.get(sequence)
            if item is not None and sequence not in examples:
                examples[sequence] = Example(
                    call_id=item.call_id, why=why, trace_id=item.trace_id, span_id=item.span_id
                )
        if incident.opened_sequence not in examples:
            examples[incident.opened_sequence] = Example(call_id=incident.opened_call, why=wanted[0][1])
        return list(examples.values())[:MAX_EXAMPLES]

    def _evidence(self, scope: Scope, incident: Incident, point: CallPoint) -> AlertEvidence:
        return AlertEvidence(
            engine_version=self._version,
            numerics=self._numerics,
            config_fingerprint=self._fingerprint,
            baseline=Baseline(
                start=incident.baseline_start, end=incident.baseline_end, calls=max(incident.change.earliest - 1, 0)
            ),
            positions=Positions(
                first=Position(sequence=1, call_id=scope.first_call),
                opening=Position(sequence=incident.opened_sequence, call_id=incident.opened_call),
                this=Position(sequence=point.sequence, call_id=point.call_id),
            ),
        )

    def _fill(self, template: str, scope: Scope, incident: Incident) -> str:
        tenant, app, env, route = scope.parts
        words = {
            "scope": scope.key,
            "tenant": tenant or "",
            "app": app,
            "env": env,
            "route": route,
            "dedup_key": incident.dedup_key,
        }
        for word, value in words.items():
            template = template.replace("{" + word + "}", quote(value, safe=""))
        return template


def _by_level(incident: Incident) -> list[Shift]:
    """The shifts of an incident, surest first; at most MAX_SIGNALS."""
    order = sorted(incident.shifts, key=lambda s: (-s.level_nats, s.name, s.category or ""))
    return order[:MAX_SIGNALS]


def _most_common(shares: dict[str, float]) -> str | None:
    return max(sorted(shares), key=lambda value: shares[value]) if shares else None
