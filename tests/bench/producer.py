"""What emitting a call costs the application: with the broker up, away, and killed and started in the middle."""

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from threading import Event, Thread

import msgspec
import numpy as np
from leeboard.pipelines.producer import Producer
from leeboard.schemas import ModelCall

from tests.kafka.broker import Broker

from .table import note, table

ROOT = Path(__file__).parents[2]
TOPIC = "leeboard.raw"
#: a call of 300 tokens in and 150 out: 2 KB as JSON
INPUT, OUTPUT = "How do I reset my password? I have tried twice. " * 25, "Open the settings and choose reset. " * 17
SECONDS = 20
#: calls a second of one process, in bursts of ten
PACE = 1000
BURST = 10
KILLS = 4
EXIT_CALLS = 10_000


def a_call(number: int) -> ModelCall:
    """One of 20 scopes."""
    return ModelCall(
        id=f"c-{number}",
        time=1_767_571_200_000 + number,
        app="support",
        env="production",
        route=f"route-{number % 20}",
        provider="openai",
        model_requested="gpt-4o",
        model_served="gpt-4o-2024-08-06",
        prompt_version="31",
        input_tokens=300,
        output_tokens=150,
        latency_ms=2140.25,
        finish_reason="stop",
        labels={"tenant": "north"},
        input_text=INPUT,
        output_text=OUTPUT,
    )


def emit(take: Callable[[ModelCall], bool], seconds: float, pace: float | None) -> tuple[list[str], list[str]]:
    """The figures of a line of the table, and the ids that were kept."""
    kept: list[str] = []
    took: list[int] = []
    cpu = 0.0
    started = time.perf_counter()
    while (number := len(took)) == 0 or time.perf_counter() - started < seconds:
        calls = [a_call(number + k) for k in range(BURST)]
        before = time.thread_time()
        for call in calls:
            at = time.perf_counter_ns()
            ok = take(call)
            took.append(time.perf_counter_ns() - at)
            if ok:
                kept.append(call.id)
        cpu += time.thread_time() - before
        if pace is not None:
            time.sleep(max(0.0, started + len(took) / pace - time.perf_counter()))
    us = np.sort(took) / 1000
    figures = [cpu / len(us) * 1e6, us.mean(), np.median(us), us[int(0.99 * len(us))], us[-1]]
    cells = [f"{figure:,.1f}" for figure in figures]
    return [f"{len(us):,}", *cells, f"{len(us) - len(kept):,}"], kept


def nothing(_: ModelCall) -> bool:
    """What the loop and the clock cost."""
    return True


def settle(producer: Producer, broker: Broker, kept: list[str]) -> str:
    """Wait for the calls that were kept; all of them are on the topic, once."""
    assert producer.flush(120), producer.stats()
    stats = producer.stats()
    producer.close()
    assert stats.emitted == len(kept) + sum(stats.dropped.values())
    arrived = [msgspec.json.decode(record.value)["id"] for record in broker.records(TOPIC)]
    assert sorted(arrived) == sorted(kept)
    assert stats.failed == 0
    return f"{stats.delivered:,} of {len(kept):,}"


def up(name: str, seconds: float, pace: float | None, kills: int = 0) -> list[str]:
    """With a broker, which is killed and started again."""
    with Broker() as broker:
        broker.create_topic(TOPIC, 4)
        ended, done = Event(), Event()

        def disturb() -> None:
            for _ in range(kills):
                time.sleep(1.5)
                broker.kill()
                time.sleep(1.0)
                broker.start()
            done.set()
            ended.wait()  # a broker ends with the thread that started it

        thread = Thread(target=disturb)
        thread.start()
        producer = Producer(broker.settings())
        cells, kept = emit(producer.emit, seconds, pace)
        done.wait()
        arrived = settle(producer, broker, kept)
        ended.set()
        thread.join()
    return [name, *cells, arrived]


def away(name: str, seconds: float, pace: float) -> list[str]:
    """With a broker that comes when all is emitted."""
    broker = Broker()
    producer = Producer(broker.settings())
    cells, kept = emit(producer.emit, seconds, pace)
    with broker:
        broker.create_topic(TOPIC, 4)
        return [name, *cells, settle(producer, broker, kept)]


def at_exit() -> str:
    """A process that emits and ends."""
    code = f"""
import time; from leeboard.pipelines.kafka.settings import KafkaSettings; from tests.bench.producer import *
producer = Producer(KafkaSettings(bootstrap_servers=[{{!r}}]))
for n in range({EXIT_CALLS}): assert producer.emit(a_call(n))
print(time.time(), flush=True)
"""
    with Broker() as broker:
        broker.create_topic(TOPIC, 4)
        command = [sys.executable, "-c", code.format(broker.bootstrap)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
        seconds = time.time() - float(done.stdout)
        arrived = len(broker.records(TOPIC))
    return f"A process that emits {EXIT_CALLS:,} calls and ends: {arrived:,} delivered, {seconds:.1f} s after the last."


def section() -> str:
    """The thread that emits, and what became of the calls."""
    idle, _ = emit(nothing, SECONDS, PACE)
    rows = [
        [f"a function that does nothing, {PACE:,} calls/s", *idle, ""],
        up(f"broker up, {PACE:,} calls/s", SECONDS, PACE),
        away(f"broker away, {PACE:,} calls/s", SECONDS, PACE),
        up(f"broker killed {KILLS} times, {PACE:,} calls/s", SECONDS, PACE, KILLS),
        up("broker up, as fast as the thread can", 5.0, None),
    ]
    head = ["`emit` of 2 KB calls", "calls", "us CPU", "us wall", "median", "p99", "largest", "dropped", "delivered"]
    return "\n".join(
        [
            table(head, rows),
            note(
                f"At the pace calls come in bursts of {BURST}; the first of each finds nothing in the processor's "
                "caches, which is the p99. The largest are those in which another thread had the interpreter or the "
                "core. Nothing was raised; kept and dropped add up to emitted; what was kept is on the topic, each "
                "call once."
            ),
            note(at_exit()),
        ]
    )
