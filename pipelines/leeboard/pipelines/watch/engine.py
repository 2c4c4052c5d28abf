"""The pure engine: records of scopes in, alerts and summaries out; the same records always give the same bytes.

`step` takes records in log order, in any batching. It never reads a clock, draws a number or touches the outside.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from leeboard.detectors import hash64
from leeboard.detectors.core.budget import page_nats
from leeboard.pipelines.units import DAY_MS, MINUTE_MS
from leeboard.pipelines.watch.columns import Signals
from leeboard.schemas import (
    Accept,
    Alert,
    Confirm,
    Control,
    Deploy,
    Mute,
    Observation,
    Refused,
    Reject,
    Score,
    Summary,
    encode,
    epoch_ms,
    reject,
    scope_key,
    scope_parts,
)

from .batch.encoder import MAX_BATCH, Encoded, Encoder, Entry
from .families.bank import Bank
from .incidents.alerts import AlertWriter
from .incidents.lifecycle import CallPoint, Incidents, Transition
from .kernel import watch
from .settings import EngineSettings
from .snapshot import codec, takeover
from .state.history import RECENT_IDS
from .state.scope import MAX_CLOSED, MAX_DEPLOYS, Announced, RecentId, Scope
from .summary import ENGINE_ERROR, Summaries

#: changes whenever the same records would give other alerts
ENGINE_VERSION = "1"
#: scopes dropped at once when there are too many, as a share of the limit
DROPPED_SHARE = 0.05
#: calls older than this against their scope's time are not learned
LATE_MS = 7 * DAY_MS
#: a call's own time counts up to so far ahead of when its record was written
AHEAD_MS = 5 * MINUTE_MS
#: a summary waits for so many calls, but for no more than so many of its intervals
SUMMARY_CALLS = 25
SUMMARY_LATEST = 12
#: beyond any call number and time
NEVER = 2**62

EngineRecord: TypeAlias = Observation | Score | Deploy | Accept | Confirm | Mute


@dataclass(frozen=True, slots=True)
class Output:
    """What a record caused, and the position of that record."""

    position: int
    record: Alert | Summary | Reject


class Engine:
    """All scopes of one partition (or of a replay).

    `numerics`: the tag of the machine's arithmetic that every alert carries.
    """

    def __init__(self, settings: EngineSettings, numerics: str = "") -> None:
        self.settings = settings
        self.fingerprint = settings.fingerprint()
        self.page_nats = page_nats(settings.budget.calls_per_week, settings.budget.pages_per_week)
        #: scopes dropped from memory because there were too many
        self.dropped = 0
        #: signals of restored scopes whose state this build does not know or keeps differently, and signals new to them
        self.signals_dropped = 0
        self.signals_new = 0
        signals = Signals(settings)
        self.bank = Bank(signals, settings.watch.ring_calls, self.page_nats, settings.budget.notices_per_week)
        self.incidents = Incidents(self.bank, settings, self.page_nats, self.fingerprint)
        self.summaries = Summaries(self.bank, self.incidents)
        self.scopes: dict[str, Scope] = {}
        self._snapshots = codec.Writer(self.bank, settings)
        self._encoder = Encoder(self.bank, signals, self.incidents.forget_detector)
        self._writer = AlertWriter(self.bank, self.incidents, settings, self.fingerprint, ENGINE_VERSION, numerics)
        self._idle_ms = round(settings.watch.idle_days * DAY_MS)
        self._summary_ms = round(settings.watch.summary_minutes * MINUTE_MS)

    def step(self, records: Sequence[EngineRecord], positions: Sequence[int]) -> list[Output]:
        """Take records in log order; alerts, summaries and refused controls in the order of their causes.

        `positions` rise and say where each record is in its log. A scope that was restored takes no record up to the
        position that its state was applied to: the log may be read again from any earlier at.
        """
        outputs: list[Output] = []
        entries: list[Entry] = []
        late: dict[str, int] = {}
        for position, record in zip(positions, records, strict=True):
            if not isinstance(record, Observation | Score):
                outputs += self._run(entries)
                entries = []
                outputs += self._control(record, position)
                continue
            key = record.scope if isinstance(record, Observation) else self._scope_of(record)
            if isinstance(record, Score) and key not in self.scopes:
                refused = Refused("no_scope", "no call of this scope was seen")
                outputs.append(Output(position, reject(encode(record), refused, str(position))))
                continue
            if len(entries) >= MAX_BATCH or self._needs_room(key, record):
                outputs += self._run(entries)
                entries = []
                self._count_late(late)
                self._make_room(key, record)
            entry = self._admit(key, record, position, late)
            if entry is not None:
                entries.append(entry)
        outputs += self._run(entries)
        self._count_late(late)
        outputs.sort(key=lambda output: output.position)
        return outputs

    def summarise(self) -> list[Summary]:
        """The summary of every scope now, by key."""
        summaries = []
        for key in sorted(self.scopes):
            scope = self.scopes[key]
            record = self.bank.scopes.array[scope.slot]
            point = CallPoint(int(record["calls"]), "", int(record["time"]))
            summaries.append(self.summaries.write(scope, point, self.page_nats))
        return summaries

    def validate_state(self) -> None:
        """Check the invariants between scopes, incidents and detectors; for tests. Raises AssertionError."""
        for name, scope in self.scopes.items():
            assert name == scope.key
            open_keys = {key for key in self.bank.keys(scope.slot) if self.bank.is_open(scope.slot, key)}
            ours = set()
            if scope.incident is not None:
                ends = scope.incident.next_check_call == 0
                assert scope.incident.shifts or ends, (
                    "an open incident has at least one signal, or ends with the next call"
                )
                ours = {shift.key for shift in scope.incident.shifts if shift.evidence is None}
            assert ours == open_keys, f"{name}: open changes are those of the incident"
            calls = int(self.bank.scopes.array[scope.slot]["calls"])
            assert 0 <= calls <= scope.encoded
            for key in self.bank.keys(scope.slot):
                family = self.bank.of(key)
                family.check(scope.slot, key)
                assert family.record(scope.slot, key)["retained"] < 0 or key in scope.retained
        assert self.bank.scopes.used == len(self.scopes)

    def _scope_of(self, control: Control) -> str:
        tenant = control.tenant if self.settings.scope.tenant else None
        return scope_key(tenant, control.app, control.env, control.route)

    def _needs_room(self, key: str, record: Observation | Score) -> bool:
        scope = self.scopes.get(key)
        if scope is None:
            return len(self.scopes) >= self.settings.watch.max_scopes
        return isinstance(record, Observation) and _scope_time(record) > scope.time + self._idle_ms

    def _make_room(self, key: str, record: Observation | Score) -> None:
        """Start an idle scope anew; drop the scopes that were quiet longest if there are too many."""
        scope = self.scopes.get(key)
        if scope is not None:
            if isinstance(record, Observation) and _scope_time(record) > scope.time + self._idle_ms:
                self.drop(key)
            return
        if len(self.scopes) < self.settings.watch.max_scopes:
            return
        quiet = sorted(self.scopes.values(), key=lambda scope: (scope.applied, scope.key))
        for old in quiet[: max(1, int(DROPPED_SHARE * self.settings.watch.max_scopes))]:
            self.drop(old.key)
            self.dropped += 1

    def snapshot(self, key: str, after_call: int = 0) -> dict[str, bytes]:
        """The state of a scope as parts (see `codec`); only what changed after its call number `after_call`."""
        return self._snapshots.snapshot(self.scopes[key], after_call)

    def restore(self, parts: dict[str, bytes]) -> takeover.Restored:
        """Take a scope over from its parts. Raises codec.StateError; a scope of that key is replaced.

        Signals that the parts hold and this build does not know (or keeps differently) are dropped, those that they do
        not hold start to learn; both are counted.
        """
        restored = takeover.restore(self.bank, parts, self._snapshots.catalogue)
        scope = restored.scope
        if scope.key in self.scopes:
            self.drop(scope.key)
        self.scopes[scope.key] = scope
        if restored.lost_shifts:
            self.incidents.detectors_lost(scope)
            self._schedule_checks(scope)
        for name, count in (("dropped", restored.dropped), ("new", restored.new)):
            if count:
                scope.count(f"state_signals_{name}", count)
        self.signals_dropped += restored.dropped
        self.signals_new += restored.new
        return restored

    def drop(self, key: str) -> None:
        """Forget a scope."""
        self.bank.drop_scope(self.scopes.pop(key).slot)

    def named_by(self, control: Control) -> list[str]:
        """Keys of the scopes that a control record is about."""
        return [scope.key for scope in self._named(control)]

    def mark_degraded(self, key: str, position: int) -> None:
        """The record at this position of this scope could not be applied: its summaries say so from now on."""
        scope = self.scopes.get(key)
        if scope is not None and position > scope.applied:
            scope.applied = position
            scope.count(ENGINE_ERROR)

    def _admit(self, key: str, record: Observation | Score, position: int, late: dict[str, int]) -> Entry | None:
        """The entry for a record; None for a call that is too late to be learned."""
        if isinstance(record, Score):
            scope = self.scopes[key]
            if position <= scope.applied:
                return None
            event = hash64(f"{record.call_id}\0{record.evaluator}\0{record.name}")
            scope.applied = position
            return Entry(position, scope, epoch_ms(record.time), scope.time, event, score=record)
        time = _scope_time(record)
        known = self.scopes.get(key)
        if known is not None and position <= known.applied:
            return None
        scope = known if known is not None else self._add_scope(key, record, time)
        scope.applied = position
        if time > scope.time:
            scope.time = time
        elif record.time < scope.time - LATE_MS:
            late[key] = late.get(key, 0) + 1
            return None
        missed = late.pop(key, 0)
        return Entry(position, scope, record.time, scope.time, record.id_hash, observation=record, late=missed)

    def _count_late(self, late: dict[str, int]) -> None:
        """Count late calls that no later entry of their scope has counted."""
        for key, count in late.items():
            self.scopes[key].count("late", count)
        late.clear()

    def _add_scope(self, key: str, first: Observation, time: int) -> Scope:
        slot = self.bank.add_scope()
        scope = self.scopes[key] = Scope(key, slot, first.id, time=time, summary_time=time + self._summary_ms)
        self._schedule_checks(scope)
        return scope

    def _run(self, entries: list[Entry]) -> list[Output]:
        """Give entries to the kernel, with the work and the decisions that are due on the way."""
        if not entries:
            return []
        encoded = self._encoder.encode(entries)
        counts: dict[str, tuple[Scope, int]] = {}
        for entry in entries:
            counts[entry.scope.key] = (entry.scope, counts.get(entry.scope.key, (entry.scope, 0))[1] + 1)
        for scope, count in counts.values():
            self.bank.history.reserve(scope.slot, int(self.bank.scopes.array[scope.slot]["calls"]) + count)
        outputs: list[Output] = []
        at = 0
        while at < len(encoded.entries):
            for work in encoded.work.get(at, ()):
                work()
            at, due = watch(self.bank.state(), encoded.batch, self.bank.columns, at, self.bank.scratch)
            if due:
                outputs += self._decide(encoded, at - 1)
        self._remember_ids(encoded)
        return outputs

    def _decide(self, encoded: Encoded, e: int) -> Iterator[Output]:
        """The steps of the scope's incident after entry e, and its summary if that is due."""
        entry = encoded.entries[e]
        scope = entry.scope
        point = self._point(scope, entry)
        reported = self.bank.reported(scope.slot)
        steps = self.incidents.decide(scope, reported, encoded.alarms.get(e, []), point)
        recent = [*self.bank.history.recent(scope.slot), *self._newest(encoded, e)][-RECENT_IDS:] if steps else []
        for step in steps:
            yield Output(entry.position, self._alert(scope, step, point, recent))
        enough = point.sequence >= scope.summary_calls + SUMMARY_CALLS or point.time >= self._latest(scope)
        if point.time >= scope.summary_time and enough:
            yield Output(entry.position, self.summaries.write(scope, point, self.page_nats))
            scope.summary_time = point.time - point.time % self._summary_ms + self._summary_ms
        self._schedule_checks(scope)

    def _point(self, scope: Scope, entry: Entry) -> CallPoint:
        record = self.bank.scopes.array[scope.slot]
        if entry.observation is not None:
            call_id = entry.observation.id
        else:
            call_id = entry.score.call_id if entry.score is not None else ""
        return CallPoint(int(record["calls"]), call_id, int(record["time"]))

    def _alert(self, scope: Scope, step: Transition, point: CallPoint, recent: Sequence[RecentId]) -> Alert:
        alert = self._writer.write(scope, step, point, recent)
        if step.status == "resolve":
            scope.closed = [*scope.closed, step.incident][-MAX_CLOSED:]
        return alert

    def _schedule_checks(self, scope: Scope) -> None:
        """Set the call and the time at which the kernel stops for this scope next."""
        record = self.bank.scopes.array[scope.slot]
        incident = scope.incident
        accepted = self.incidents.accepted_time(incident) if incident is not None else NEVER
        record["next_check_call"] = incident.next_check_call if incident is not None else NEVER
        record["summary_check_time"] = scope.summary_time
        record["summary_check_call"] = scope.summary_calls + SUMMARY_CALLS
        record["latest_check_time"] = min(self._latest(scope), accepted)

    def _latest(self, scope: Scope) -> int:
        """Scope time at which a summary waits no longer for calls."""
        return scope.summary_time + (SUMMARY_LATEST - 1) * self._summary_ms

    def _newest(self, encoded: Encoded, e: int) -> list[RecentId]:
        """The newest calls of entry e's scope in this batch, up to e, that can be named; RECENT_IDS at most."""
        slot = encoded.entries[e].scope.slot
        calls = int(self.bank.scopes.array[slot]["calls"])
        newest: list[RecentId] = []
        at = e
        while at >= 0 and encoded.batch.slots[at] == slot and len(newest) < RECENT_IDS:
            observation = encoded.entries[at].observation
            if observation is not None and not encoded.batch.repeated[at]:
                newest.append(RecentId(calls, observation.id, observation.trace_id, observation.span_id))
                calls -= 1
            at -= 1
        newest.reverse()
        return newest

    def _remember_ids(self, encoded: Encoded) -> None:
        """Keep the newest calls of every scope of a batch."""
        slots = encoded.batch.slots
        for e in np.flatnonzero(slots != np.append(slots[1:], -1)).tolist():
            self.bank.history.add_recent(int(slots[e]), self._newest(encoded, e))

    def _control(self, control: Control, position: int) -> list[Output]:
        """What a person or a deployment says of one scope, or of all that `*` stands for."""
        outputs: list[Output] = []
        for scope in self._named(control):
            if position <= scope.applied:
                continue
            scope.applied = position
            record = self.bank.scopes.array[scope.slot]
            recent = self.bank.history.recent(scope.slot)
            last = recent[-1].call_id if recent else scope.first_call
            point = CallPoint(int(record["calls"]), last, int(record["time"]))
            outputs += [Output(position, alert) for alert in self._apply(scope, control, point)]
            self._schedule_checks(scope)
        return outputs

    def _apply(self, scope: Scope, control: Control, point: CallPoint) -> list[Alert]:
        if isinstance(control, Deploy):
            deploy = Announced(epoch_ms(control.time), point.sequence, control.what, control.version)
            scope.deploys = [*scope.deploys, deploy][-MAX_DEPLOYS:]
        elif isinstance(control, Mute):
            scope.muted_until = epoch_ms(control.until)
        elif isinstance(control, Accept):
            recent = self.bank.history.recent(scope.slot)
            return [self._alert(scope, step, point, recent) for step in self.incidents.accept(scope)]
        elif isinstance(control, Confirm):
            for incident in (*scope.closed, *([scope.incident] if scope.incident else [])):
                if incident.dedup_key == control.dedup_key and incident.confirmed != control.real:
                    incident.confirmed = control.real
                    return [self._writer.confirm(scope, incident, point)]
        return []

    def _named(self, control: Control) -> list[Scope]:
        """The scopes that a control names; `*` for route or tenant is every one."""
        if control.route != "*" and control.tenant != "*":
            scope = self.scopes.get(self._scope_of(control))
            return [scope] if scope is not None else []
        named = []
        for key in sorted(self.scopes):
            tenant, app, env, route = scope_parts(key)
            if (
                (app, env) == (control.app, control.env)
                and control.route in ("*", route)
                and (not self.settings.scope.tenant or control.tenant in ("*", tenant))
            ):
                named.append(self.scopes[key])
        return named


def _scope_time(observation: Observation) -> int:
    """The time that a call may move its scope's clock to."""
    if observation.received is None:
        return observation.time
    return min(observation.time, observation.received + AHEAD_MS)
