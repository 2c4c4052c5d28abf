"""A backtest: records -> measure -> engine -> gate, as live would have done it."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice

from leeboard.schemas import (
    Alert,
    Ledger,
    ModelCall,
    Observation,
    Page,
    Reject,
    Summary,
    epoch_ms,
)

from .config import Config
from .measure.measurer import Measurer
from .numerics import numerics_tag
from .watch.engine import Engine, Record
from .watch.gate.fold import Gate

#: records given to the engine at once
BATCH = 4096
#: dead letters kept for the report; all are counted
MAX_REJECTS = 1000


@dataclass(slots=True)
class ReplayedIncident:
    """One incident of a replay: its alerts in order, and when it paged."""

    alerts: list[Alert]
    paged_at: int | None = None
    joined: bool = False

    @property
    def last(self) -> Alert:
        """The newest alert."""
        return self.alerts[-1]

    @property
    def peak(self) -> Alert:
        """The alert with the highest level."""
        return max(self.alerts, key=lambda alert: alert.level)


@dataclass(slots=True)
class ReplayResult:
    """What a replay found."""

    calls: int = 0
    controls: int = 0
    scopes: int = 0
    first_time: int | None = None
    last_time: int | None = None
    alerts: list[Alert] = field(default_factory=list)
    pages: list[Page] = field(default_factory=list)
    #: newest summary of every scope, and its state at the end
    summaries: dict[str, Summary] = field(default_factory=dict)
    rejects: list[Reject] = field(default_factory=list)
    refused: Counter[str] = field(default_factory=Counter)
    #: late, duplicate_id ... over all scopes
    left_out: Counter[str] = field(default_factory=Counter)
    dropped_scopes: int = 0
    #: what of the texts could not be measured: see `measure.COUNTED`
    unmeasured: dict[str, int] = field(default_factory=dict)
    ledger: Ledger | None = None

    def incidents(self) -> list[ReplayedIncident]:
        """The incidents in the order in which they opened."""
        found: dict[str, ReplayedIncident] = {}
        for alert in self.alerts:
            found.setdefault(alert.dedup_key, ReplayedIncident([])).alerts.append(alert)
        for page in self.pages:
            if page.status == "trigger":
                found[page.page_key].paged_at = page.time
            for member in page.rolled_up:
                found[member.dedup_key].joined = True
        return sorted(found.values(), key=lambda incident: (incident.alerts[0].time, incident.alerts[0].scope))


class Replay:
    """Feeds records through measuring and the engine; `finish` merges the alerts and asks the gate.

    `observer` gets the observations of every batch before the engine does, `summarised` every summary that the engine
    emits on the way.
    """

    def __init__(
        self,
        config: Config,
        *,
        observer: Callable[[list[Observation]], None] | None = None,
        summarised: Callable[[Summary], None] | None = None,
    ) -> None:
        self.result = ReplayResult()
        self._settings = config.engine()
        #: partition -> engine, and how many records it has had
        self._engines: dict[int, Engine] = {}
        self._positions: Counter[int] = Counter()
        self._gate = Gate(config.budget)
        self._measurer = Measurer(config.measure())
        self._observer = observer
        self._summarised = summarised

    def feed(self, records: Iterable[Record | ModelCall | Reject], partition: int = 0) -> None:
        """Take records of a partition in order (a file is one); refused ones are counted."""
        stream = iter(records)
        while batch := list(islice(stream, BATCH)):
            for record in batch:
                if isinstance(record, Reject):
                    self._refuse(record)
            accepted = (record for record in batch if not isinstance(record, Reject))
            measured: list[Record] = list(self._measurer.measure_all(accepted))
            self._count(measured)
            self._step(measured, partition)

    def finish(self) -> ReplayResult:
        """Merge alerts by (time, scope, sequence), let the gate decide, and collect counts and last summaries."""
        result = self.result
        result.alerts.sort(key=lambda alert: (alert.time, alert.scope, alert.evidence.positions.this.sequence))
        for alert in result.alerts:
            result.pages += self._gate.step(alert)
        if result.last_time is not None:
            result.pages += self._gate.advance(result.last_time)
        result.ledger = self._gate.ledger()
        result.unmeasured = self._measurer.counts
        for engine in self._engines.values():
            result.scopes += len(engine.scopes) + engine.dropped
            result.dropped_scopes += engine.dropped
            for summary in engine.summarise():
                result.summaries[summary.scope] = summary
                result.left_out.update(summary.counts)
        return result

    def _refuse(self, reject: Reject) -> None:
        self.result.refused[reject.reason] += 1
        if len(self.result.rejects) < MAX_REJECTS:
            self.result.rejects.append(reject)

    def _count(self, records: list[Record]) -> None:
        result = self.result
        times = [record.time for record in records if isinstance(record, Observation)]
        result.calls += len(times)
        result.controls += len(records) - len(times)
        if times:
            result.first_time = min(times) if result.first_time is None else min(result.first_time, *times)
            result.last_time = max(times) if result.last_time is None else max(result.last_time, *times)

    def _step(self, records: list[Record], partition: int) -> None:
        if self._observer is not None:
            self._observer([record for record in records if isinstance(record, Observation)])
        engine = self._engines.get(partition)
        if engine is None:
            engine = self._engines[partition] = Engine(self._settings, numerics_tag())
        first = self._positions[partition]
        self._positions[partition] += len(records)
        for output in engine.step(records, range(first, first + len(records))):
            if isinstance(output.record, Alert):
                self.result.alerts.append(output.record)
            elif isinstance(output.record, Summary):
                if self._summarised is not None:
                    self._summarised(output.record)
            else:
                self.result.refused[output.record.reason] += 1


def with_controls(
    records: Iterator[Record | ModelCall | Reject], controls: Sequence[Record]
) -> Iterator[Record | ModelCall | Reject]:
    """Merge control records by time into calls that stay in their order: each before the first later call."""
    waiting = sorted(controls, key=lambda control: epoch_ms(control.time))
    at = 0
    for record in records:
        if isinstance(record, ModelCall):
            while at < len(waiting) and epoch_ms(waiting[at].time) < epoch_ms(record.time):
                yield waiting[at]
                at += 1
        yield record
    yield from waiting[at:]
