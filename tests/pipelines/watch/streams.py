"""Small streams of calls for tests of the engine: traffic of one scope that can be changed on the way, and drivers."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import numpy as np
from leeboard.detectors.core.arenas import Rows
from leeboard.pipelines.measure.measurer import Measurer
from leeboard.pipelines.measure.settings import MeasureSettings
from leeboard.pipelines.watch.engine import Engine, EngineRecord
from leeboard.pipelines.watch.gate.fold import Gate
from leeboard.pipelines.watch.settings import EngineSettings, SignalSettings, WatchSettings
from leeboard.schemas import Alert, ModelCall, Observation, Page, Reject, Summary

#: Monday, 2026-01-05 00:00 UTC
START_MS = 1_767_571_200_000
MINUTE_MS = 60_000
DAY_MS = 86_400_000
NUMERICS = "test"
MEASURER = Measurer(MeasureSettings(key="test", price=False))

#: one interval of summaries is longer than any test, so that only alerts come out
ALERTS_ONLY = EngineSettings(watch=WatchSettings(summary_minutes=1e6))


@dataclass
class Traffic:
    """Calls of one scope: lognormal tokens, latency that follows the answer, 2 % errors, 3 % truncated answers.

    `take` continues the stream; its keywords are what has changed: factors, shares, or fields of the calls.
    """

    seed: int = 0
    app: str = "shop"
    route: str = "answer"
    every_ms: int = MINUTE_MS
    time_ms: int = START_MS
    number: int = 0
    rng: np.random.Generator = field(init=False)

    def __post_init__(self) -> None:
        self.rng = np.random.default_rng([self.seed, *self.app.encode(), 0, *self.route.encode()])

    @property
    def scope(self) -> str:
        return f"/{self.app}/default/{self.route}"

    def calls(
        self,
        n: int,
        *,
        latency: float = 1.0,
        answer: float = 1.0,
        question: float = 1.0,
        price: float = 1.0,
        errors: float = 0.02,
        **fields: Any,
    ) -> Iterator[ModelCall]:
        for _ in range(n):
            z = self.rng.standard_normal(3)
            failed, truncated = self.rng.random() < errors, self.rng.random() < 0.03
            asked, answered = int(question * np.exp(6.5 + 0.4 * z[0])), int(answer * np.exp(5.3 + 0.4 * z[1]))
            call: dict[str, Any] = {
                "id": f"{self.app}-{self.route}-{self.number:06d}",
                "time": self.time_ms,
                "app": self.app,
                "route": self.route,
                "provider": "acme",
                "model_served": "m-1",
                "system_text": "Answer briefly.",
                "input_tokens": asked,
                "trace_id": f"trace-{self.number}",
            }
            if failed:
                call |= {"error_type": "timeout"}
            else:
                call |= {
                    "output_tokens": answered,
                    "latency_ms": latency * (300.0 + 9.0 * answered) * float(np.exp(0.15 * z[2])),
                    "cost_usd": price * (3e-6 * asked + 15e-6 * answered),
                    "finish_reason": "length" if truncated else "stop",
                }
            self.number += 1
            self.time_ms += self.every_ms
            yield ModelCall(**{**call, **fields})

    def take(self, n: int, **changes: Any) -> list[Observation]:
        return [MEASURER.measure(call) for call in self.calls(n, **changes)]


@dataclass
class Outcome:
    """What an engine said, in order."""

    engine: Engine
    alerts: list[Alert] = field(default_factory=list)
    summaries: list[Summary] = field(default_factory=list)
    rejects: list[Reject] = field(default_factory=list)

    def add(self, record: Alert | Summary | Reject) -> None:
        kept: list[Any] = {Alert: self.alerts, Summary: self.summaries, Reject: self.rejects}[type(record)]
        kept.append(record)

    def incidents(self) -> list[list[Alert]]:
        """The alerts of every incident, in the order in which they opened."""
        found: dict[str, list[Alert]] = {}
        for alert in self.alerts:
            found.setdefault(alert.dedup_key, []).append(alert)
        return list(found.values())

    def pages(self) -> list[Page]:
        gate = Gate(self.engine.settings.budget)
        return [page for alert in self.alerts for page in gate.step(alert)]


def batches(records: Iterable[EngineRecord], size: int) -> Iterator[list[EngineRecord]]:
    stream = iter(records)
    while batch := list(islice(stream, size)):
        yield batch


def run(
    records: Sequence[EngineRecord],
    settings: EngineSettings = ALERTS_ONLY,
    *,
    batch: int = 97,
    engine: Engine | None = None,
) -> Outcome:
    """Give records to an engine in batches, after those it had before; its invariants are checked after every one."""
    outcome = Outcome(engine if engine is not None else Engine(settings, NUMERICS))
    first = 1 + max((scope.applied for scope in outcome.engine.scopes.values()), default=-1)
    for at in range(0, len(records), batch):
        taken = records[at : at + batch]
        for output in outcome.engine.step(taken, range(first + at, first + at + len(taken))):
            outcome.add(output.record)
        outcome.engine.validate_state()
    return outcome


def only(*names: str, **watch: Any) -> EngineSettings:
    """Alerts only, with every signal switched off but these."""
    from leeboard.pipelines.signals import BINARY, CATEGORICAL, NUMERIC, TEXT

    known = (*NUMERIC, *BINARY, *CATEGORICAL, *TEXT)
    off = {s.name: SignalSettings(enabled=False) for s in known if s.name not in names}
    return EngineSettings(signals=off, watch=WatchSettings(summary_minutes=1e6, **watch))


def opened(outcome: Outcome) -> list[str]:
    """What every alert says, in short: for messages of failed tests."""
    return [
        f"{a.evidence.positions.this.sequence} {a.status} {a.severity} {a.resolution or ''} "
        + ",".join(s.name + (f"={s.category}" if s.category else "") for s in a.signals)
        for a in outcome.alerts
    ]


def arenas(engine: Engine) -> dict[str, Rows]:
    """Every arena of an engine, by name."""
    bank = engine.bank
    texts = bank.text.bank
    return {
        "scopes": bank.scopes,
        "numeric": bank.numeric.detectors.rows,
        "frozen": bank.numeric.detectors.frozen,
        "clocks": bank.numeric.clocks,
        "givens": bank.numeric.givens,
        "shares": bank.binary.detectors.rows,
        "frozen_shares": bank.binary.detectors.frozen,
        "ring": bank.history.ring,
        "ids": bank.history.ids,
        "texts": texts.texts,
        "stores": texts.stores,
        "warm_up": texts.warm_up,
        "directions": texts.directions.rows,
        "frozen_directions": texts.directions.frozen,
        "parts": texts.parts.rows,
        "frozen_parts": texts.parts.frozen,
    }


def used(engine: Engine) -> dict[str, int]:
    """Rows allocated in every arena."""
    return {name: rows.used for name, rows in arenas(engine).items()}
