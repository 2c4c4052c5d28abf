"""Speed of the detectors and of the engine, beside River's ADWIN in plain Python; state of a scope."""

import gc
import time
from collections import defaultdict
from collections.abc import Callable

import numpy as np
from leeboard.pipelines.measure.measurer import Measurer
from leeboard.pipelines.measure.settings import MeasureSettings
from leeboard.pipelines.watch.engine import Engine
from leeboard.pipelines.watch.settings import EngineSettings
from leeboard.schemas import ModelCall, Observation
from river import drift

from tests.realdata import Values

from .adwin import Adwins
from .drive import firings
from .table import note, table

SCOPES, CALLS, BATCH = 1000, 400_000, 4096
EVENTS = 500_000
#: a fleet with 100 calls a second
SPACING_MS = 10
START_MS = 1_767_571_200_000


def fleet(calls: int, scopes: int = SCOPES) -> list[Observation]:
    """Calls of many scopes with Zipf-distributed volumes that measure every signal but text."""
    rng = np.random.default_rng(7)
    share = 1 / np.arange(1, scopes + 1)
    chosen = rng.choice(scopes, calls, p=share / share.sum()).tolist()
    tokens_in = np.rint(np.exp(rng.normal(6.0, 0.8, calls))).astype(int).tolist()
    tokens_out = np.rint(np.exp(rng.normal(5.0, 0.7, calls))).astype(int).tolist()
    noise = np.exp(rng.normal(0.0, 0.3, calls)).tolist()
    failed, tools = (rng.random(calls) < 0.005).tolist(), rng.integers(0, 3, calls).tolist()
    cached = rng.random(calls).tolist()
    measurer = Measurer(MeasureSettings())
    found = []
    for k in range(calls):
        ok = not failed[k]
        latency = 300 + 20 * tokens_out[k] * noise[k]
        call = ModelCall(
            id=f"call-{k}",
            time=START_MS + SPACING_MS * k,
            app=f"app-{chosen[k]}",
            provider="openai",
            model_requested="gpt-4o",
            model_served="gpt-4o-2024-08-06",
            system_fingerprint=f"fp_{k % 2}",
            prompt_version="7",
            system_text="Answer briefly.",
            tools=["search"],
            tool_calls=["search"] * tools[k] if ok else None,
            params={"temperature": 0.2},
            input_tokens=tokens_in[k],
            output_tokens=tokens_out[k] if ok else None,
            cached_tokens=int(tokens_in[k] * cached[k]),
            reasoning_tokens=tokens_out[k] // 4 if ok else None,
            latency_ms=latency if ok else None,
            ttft_ms=0.2 * latency if ok else None,
            finish_reason="stop" if ok else None,
            error_type=None if ok else "timeout",
            app_version="1.4",
            labels={"tier": "abc"[k % 3]},
        )
        found.append(measurer.measure(call))
    return found


def timed(action: Callable[[], object]) -> float:
    """CPU seconds of an action, best of three."""
    best = float("inf")
    for _ in range(3):
        started = time.process_time()
        action()
        best = min(best, time.process_time() - started)
    return best


def detector_rows() -> list[list[str]]:
    """Microseconds an event of one stream."""
    x = np.random.default_rng(1).lognormal(0.0, 0.6, EVENTS)
    plain, clock = Values(x, "dev"), Values(x, "dev", days=np.arange(EVENTS) / 1000.0)
    firings(clock, 1e4)
    few = x[: EVENTS // 25].tolist()

    def adwin() -> None:
        detector = drift.ADWIN()
        for value in few:
            detector.update(value)

    rival = timed(adwin) / len(few) * 1e6
    rows = []
    for name, stream in (("leeboard, numeric", plain), ("leeboard, numeric, given the clock", clock)):
        own = timed(lambda stream=stream: firings(stream, 1e4)) / EVENTS * 1e6  # type: ignore[misc]
        rows.append([name, f"{own:.2f}", f"{own / rival:.2f}"])
    return [*rows, ["River ADWIN, update in Python", f"{rival:.2f}", "1"]]


def engine_rates(observations: list[Observation]) -> tuple[float, float, Engine]:
    """Calls a CPU second with new scopes (first quarter) and after it, and the engine."""
    engine = Engine(EngineSettings(), "benchmark")
    engine.step(observations[:100], range(100))
    engine = Engine(EngineSettings(), "benchmark")
    gc.collect()
    gc.freeze()
    spent = []
    for first, last in ((0, CALLS // 4), (CALLS // 4, CALLS)):
        started = time.process_time()
        for at in range(first, last, BATCH):
            engine.step(observations[at : min(at + BATCH, last)], range(at, min(at + BATCH, last)))
        spent.append((last - first) / (time.process_time() - started))
    gc.unfreeze()
    return spent[0], spent[1], engine


def rival_rate(observations: list[Observation]) -> float:
    """Calls a CPU second of River's ADWIN on the same signals, one detector for each of a scope."""
    scopes: defaultdict[str, Adwins] = defaultdict(Adwins)
    started = time.process_time()
    for observation in observations:
        scopes[observation.scope].update(observation)
    return len(observations) / (time.process_time() - started)


def state_rows(engine: Engine) -> list[list[str]]:
    """Bytes of state of a scope, as a checkpoint writes it, by its number of calls."""
    sizes: dict[str, list[int]] = {}
    for key, scope in engine.scopes.items():
        calls = int(engine.bank.scopes.array[scope.slot]["calls"])
        size = sum(len(part) for part in engine.snapshot(key).values())
        band = next(f"up to {top:,} calls" for top in (100, 500, 2000, 10_000, 10**9) if calls <= top)
        for name in ("all scopes", band.replace("1,000,000,000", "400,000")):
            sizes.setdefault(name, []).append(size)
    order = sorted(sizes, key=lambda name: (name != "all scopes", np.mean(sizes[name])))
    return [
        [name, f"{len(sizes[name])}", f"{np.mean(sizes[name]) / 1024:.0f} KB", f"{max(sizes[name]) / 1024:.0f} KB"]
        for name in order
    ]


def section() -> str:
    """Detector, engine and state."""
    parts = [table(["one stream", "us CPU an event", "of ADWIN"], detector_rows())]
    observations = fleet(CALLS)
    cold, warm, engine = engine_rates(observations)
    rival = rival_rate(observations)
    rows = [
        [f"leeboard engine, batches of {BATCH}, all non-text signals", f"{warm:,.0f}", f"{warm / rival:.1f}"],
        [f"the same, the first {CALLS // 4:,} calls (all scopes new)", f"{cold:,.0f}", f"{cold / rival:.1f}"],
        ["River's ADWIN in a Python loop, the same signals", f"{rival:,.0f}", "1"],
    ]
    parts.append(f"{CALLS:,} calls of {SCOPES:,} scopes, Zipf-distributed\n")
    parts.append(table(["one core", "calls / CPU s", "of ADWIN"], rows))
    parts.append(table(["state of a scope as a checkpoint writes it", "scopes", "mean", "largest"], state_rows(engine)))
    parts.append(note("A busy scope: 33 KB are the hashes of its last 4,096 call ids, 24 KB the ring of 2,000 calls."))
    return "\n".join(parts)
