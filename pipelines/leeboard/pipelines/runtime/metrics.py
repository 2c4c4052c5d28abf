"""Metrics of a worker, in base units; docs/OPERATIONS.md says what each means and what to do.

Labels are never text of a call: stage, reason, status, severity.
"""

import time
from collections.abc import Iterable, Mapping, Sequence

from leeboard.pipelines.measure.settings import COUNTED
from leeboard.pipelines.topics import StageName, TopicSettings
from leeboard.schemas import Alert, Ledger, Page, Reject, Result, decode_result
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from .fold import OutgoingRecord

#: buckets, seconds: from a write of some KB to a restore of a large partition
DURATION_BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


class StageMetrics:
    """Everything that a worker of one stage counts."""

    def __init__(self, stage: StageName, topics: TopicSettings, registry: CollectorRegistry) -> None:
        self.registry = registry
        self._stage = stage
        self._topics = topics
        self.info = self._gauge("build_info", "Always 1; the label holds the version.", "version")
        self.records = self._counter("records", "Records processed.")
        self.repeated = self._counter("repeated_records", "Records left out because they were processed before.")
        self.dead_letters = self._counter("dead_letters", "Records sent to the dead letters.", "reason")
        self.alerts = self._counter("alerts", "Alerts published.", "status", "severity")
        self.pages = self._counter("pages", "Pages published.", "status")
        self.summaries = self._counter("summaries", "Summaries published.")
        self.lag = self._gauge("lag_records", "Records in the log that are not processed yet, over all own partitions.")
        self.event_lag = self._gauge("event_lag_seconds", "Age of the newest call processed.")
        self.checkpoint_age = self._gauge("checkpoint_age_seconds", "Longest time since a partition was published.")
        self.state_age = self._gauge("state_age_records", "Records that a restore would have to read again.")
        self.writes = self._counter("transactions", "Transactions committed.")
        self.write_seconds = self._histogram("transaction_seconds", "Time to write a transaction.")
        self.state_bytes = self._counter("state_bytes", "Bytes of state written.")
        self.scopes = self._gauge("scopes", "Scopes in memory.")
        self.evicted = self._counter("evicted_scopes", "Scopes evicted because there were too many.")
        self.signals_dropped = self._counter(
            "state_signals_dropped", "Signals of restored scopes whose baselines this build could not use."
        )
        self.signals_new = self._counter("state_signals_new", "Signals that restored scopes knew nothing of.")
        self.assigned = self._gauge("assigned_partitions", "Partitions that the group assigned to this process.")
        self.rebalances = self._counter("rebalances", "Generations of the consumer group.")
        self.restores = self._counter("restores", "Partitions restored from their state.")
        self.restore_seconds = self._histogram("restore_seconds", "Time to restore a partition.")
        self.seeks = self._counter("seeks", "Times the consumer was sent back because records were missing.")
        self.lost_records = self._counter(
            "lost_records", "Records that were gone from the log before they were processed."
        )
        self.engine_failures = self._counter("engine_failures", "Times the engine raised.")
        self.stall_seconds = self._histogram("loop_stall_seconds", "How late the worker's own timer was.")
        #: see `measure.COUNTED`
        self.texts = {name: self._counter(name, f"{what[0].upper()}{what[1:]}.") for name, what in COUNTED.items()}
        self._texts_counted = dict.fromkeys(COUNTED, 0)
        if stage == "gate":
            self._add_ledger()

    def _add_ledger(self) -> None:
        self.gate_h = self._gauge("gate_controller", "The controller h of the page gate; at 5 candidates wait.")
        self.gate_counted = self._gauge("gate_counted_pages", "Pages so far that nobody marked real.")
        self.gate_confirmed = self._gauge("gate_confirmed_pages", "Pages so far that a person marked real.")
        self.gate_waiting = self._gauge("gate_waiting_incidents", "Incidents that wait for the budget.")
        self.gate_allowance = self._gauge("gate_allowed_pages", "Pages that the budget has allowed so far.")

    def note_write(self, records: Sequence[OutgoingRecord], seconds: float) -> None:
        """Count a transaction."""
        self.writes.inc()
        self.write_seconds.observe(seconds)
        self.note_outputs(records)

    def note_outputs(self, records: Sequence[OutgoingRecord]) -> None:
        """Count what was written, by its topic."""
        topics = self._topics
        for record in records:
            if record.topic in (topics.state, topics.gate_state):
                self.state_bytes.inc(len(record.value or b""))
            elif record.topic == topics.summaries:
                self.summaries.inc()
            elif record.topic in (topics.alerts, topics.pages, topics.dead_letters):
                self._note_result(decode_result(record.value or b""))

    def _note_result(self, record: Result) -> None:
        if isinstance(record, Alert):
            self.alerts.labels(self._stage, record.status, record.severity).inc()
        elif isinstance(record, Page):
            self.pages.labels(self._stage, record.status).inc()
        elif isinstance(record, Reject):
            self.dead_letters.labels(self._stage, record.reason).inc()

    def note_lag(self, behind: Iterable[int]) -> None:
        """Records that each partition is behind."""
        self.lag.set(sum(max(records, 0) for records in behind))

    def note_age(self, newest_ms: int) -> None:
        """Event time of the newest call, epoch ms; 0 if there was none."""
        if newest_ms:
            self.event_lag.set(max(time.time() - newest_ms / 1000.0, 0.0))

    def note_counts(self, counts: Mapping[str, int]) -> None:
        """What a fold has counted since the last call, by the name of its counter."""
        for name, count in counts.items():
            getattr(self, name).inc(count)

    def note_texts(self, counts: Mapping[str, int]) -> None:
        """What of the texts could not be measured since the process started: see `measure.COUNTED`."""
        for name, count in counts.items():
            self.texts[name].inc(count - self._texts_counted[name])
            self._texts_counted[name] = count

    def note_ledger(self, ledger: Ledger) -> None:
        """The audit of the page budget."""
        self.gate_h.set(ledger.h)
        self.gate_counted.set(ledger.counted)
        self.gate_confirmed.set(ledger.confirmed)
        self.gate_waiting.set(ledger.waiting)
        self.gate_allowance.set(ledger.allowance)

    def _counter(self, name: str, help_: str, *labels: str) -> Counter:
        counter = Counter(f"leeboard_{name}", help_, ("stage", *labels), registry=self.registry)
        return counter if labels else counter.labels(self._stage)

    def _gauge(self, name: str, help_: str, *labels: str) -> Gauge:
        gauge = Gauge(f"leeboard_{name}", help_, ("stage", *labels), registry=self.registry)
        return gauge if labels else gauge.labels(self._stage)

    def _histogram(self, name: str, help_: str) -> Histogram:
        return Histogram(
            f"leeboard_{name}", help_, ("stage",), buckets=DURATION_BUCKETS_S, registry=self.registry
        ).labels(self._stage)
