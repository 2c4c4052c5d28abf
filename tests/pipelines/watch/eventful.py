"""Three scopes to which everything happens that a replay has to repeat to the byte."""

from collections.abc import Iterable, Iterator
from heapq import merge
from typing import Any

import numpy as np
from leeboard.pipelines.watch.engine import EngineRecord
from leeboard.pipelines.watch.settings import EngineSettings, SignalSettings, WatchSettings
from leeboard.schemas import Accept, Confirm, Deploy, ModelCall, Mute, Observation, Score
from msgspec.structs import replace

from .streams import DAY_MS, MEASURER, MINUTE_MS, START_MS, Traffic, run

ROUTES = ("one", "two", "three")
#: time of the log and record
Logged = tuple[int, EngineRecord]
SETTINGS = EngineSettings(
    signals={
        "input_tokens": SignalSettings(detector="river:ADWIN(delta=0.01)"),
        "truncated": SignalSettings(detector="river:PageHinkley(threshold=20)"),
        "ttft_ms": SignalSettings(enabled=False),
        "latency_given_tokens": SignalSettings(weight=2.0),
    },
    watch=WatchSettings(ring_calls=500, summary_minutes=60),
    links={"console": "https://leeboard.example/{route}/{dedup_key}"},
    runbook_url="https://runbooks.example/{app}",
)


def about(traffic: Traffic) -> dict[str, Any]:
    """What a control says of the scope and the time of its traffic."""
    return {"time": traffic.time_ms, "app": traffic.app, "route": traffic.route}


def logged(records: Iterable[EngineRecord], time_ms: int | None = None) -> Iterator[Logged]:
    """Calls in the log at their own time, or at another one."""
    for record in records:
        assert isinstance(record, Observation)
        yield record.time if time_ms is None else time_ms, record


def scored(traffic: Traffic, calls: list[Observation], mean: float, tone: str) -> Iterator[Logged]:
    """A judge's opinions, all at once after the calls."""
    opinions = traffic.rng.normal(mean, 1.0, len(calls)).tolist()
    for call, opinion in zip(calls, opinions, strict=True):
        said = {**about(traffic), "call_id": call.id, "evaluator": "judge"}
        yield traffic.time_ms, Score(**said, name="grounded", value=opinion)
        if opinion < 1.0:
            yield traffic.time_ms, Score(**said, name="tone", value=tone)


def with_scores(calls: list[Observation], mean: float) -> list[Observation]:
    rng = np.random.default_rng(len(calls))
    values = rng.normal(mean, 0.5, len(calls)).tolist()
    return [replace(call, scores={"rating": value}) for call, value in zip(calls, values, strict=True)]


def wild(traffic: Traffic, n: int) -> list[Observation]:
    """Calls with a label that is another one every time, and a model that changes more often than a detector can."""
    return [
        MEASURER.measure(
            ModelCall(
                id=f"{call.id}-wild",
                time=call.time,
                app=call.app,
                route=call.route,
                model_served=f"m-{k % 24}",
                labels={"request": str(k), "team": "blue" if k % 3 else "red"},
                latency_ms=call.latency_ms,
                output_tokens=call.output_tokens,
                input_tokens=call.input_tokens,
            )
        )
        for k, call in enumerate(traffic.calls(n))
    ]


def changing(seed: int, route: str, *, gap: bool) -> list[Logged]:
    """One scope in the order of its log."""
    traffic = Traffic(seed, route=route, every_ms=5 * MINUTE_MS)
    first = traffic.take(300, labels={"tenant": "north"})
    log = [*logged(first), *scored(traffic, first, 4.0, "calm")]
    log += logged(with_scores(traffic.take(200), 4.0))
    log += logged(first[-40:], traffic.time_ms)  # sent again
    log += logged(traffic.take(80, latency=1.7, labels={"tenant": "south"}))
    log += logged(wild(traffic, 120))
    log += logged(
        [replace(call, id=f"{call.id}-late", id_hash=call.id_hash ^ 1) for call in first[:7]], traffic.time_ms
    )
    if gap:
        traffic.time_ms += 31 * DAY_MS
    log += [(traffic.time_ms, Mute(**about(traffic), until=traffic.time_ms + DAY_MS))]
    ground = traffic.take(260)
    log += [*logged(ground), *scored(traffic, ground, 4.0, "calm")]
    log += logged([replace(call, time=call.time - 9 * DAY_MS) for call in traffic.take(5)], traffic.time_ms)
    log += logged(traffic.take(70, errors=0.5))
    log += logged(traffic.take(150))
    judged = traffic.take(120)
    log += [*logged(judged), *scored(traffic, judged, 1.0, "shrill")]
    log += [(traffic.time_ms, Accept(**about(traffic)))]
    log += logged(traffic.take(200))
    log += [(traffic.time_ms, Deploy(**about(traffic), what="prompt", version="7"))]
    log += logged(traffic.take(200, answer=2.0, prompt_version="7"))
    log += logged(traffic.take(200, answer=2.0, question=1.6, prompt_version="7"))
    return log


def confirmations(log: list[Logged]) -> list[Logged]:
    """A person's word about every incident of a scope, at its end."""
    alerts = run([record for _, record in log], SETTINGS, batch=len(log)).alerts
    time_ms, last = log[-1]
    assert isinstance(last, Observation)
    _, app, _, route = last.scope.split("/")
    keys = list(dict.fromkeys(alert.dedup_key for alert in alerts))
    return [(time_ms, Confirm(time=time_ms, app=app, route=route, dedup_key=key)) for key in keys]


def eventful() -> list[list[Logged]]:
    """The logs of the three scopes."""
    logs = [changing(seed, route, gap=route == "two") for seed, route in enumerate(ROUTES)]
    return [log + confirmations(log) for log in logs]


def merged(logs: list[list[Logged]]) -> list[EngineRecord]:
    """One log in the order of time."""
    assert min(log[-1][0] for log in logs) > START_MS
    return [record for _, record in merge(*logs, key=lambda item: item[0])]
