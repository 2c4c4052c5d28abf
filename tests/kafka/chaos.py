"""Rounds of chaos on a real broker: at the end everything must be as if nothing had happened.

    python -m tests.kafka.chaos --rounds 20 --seconds 40

Workers are killed, ended, frozen for longer than their session, joined by others, and the broker is killed and started
again, while calls arrive. Then the alerts that were committed are compared with `leeboard replay --from-topic`, byte
for byte, and the state of every scope with one that was computed offline.
"""

import argparse
import json
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
from leeboard.pipelines.runtime.warm import warm_kernels
from leeboard.pipelines.runtime.watch import WatchFold
from leeboard.pipelines.topics import TopicSettings
from leeboard.pipelines.watch.engine import Engine
from leeboard.pipelines.watch.settings import EngineSettings
from leeboard.pipelines.watch.snapshot import codec
from leeboard.schemas import Deploy, ModelCall, Page, decode_observation, decode_result, encode

from tests.pipelines.watch.streams import Traffic

from .broker import Broker
from .fleet import PARTITIONS, Fleet, WorkerProcess, scopes_of_traffic

CALLS_A_SECOND = 400
SCOPES = 24
#: the session of a frozen worker (6 s) ends in some cases and not in others
FREEZE_S = (2.0, 12.0)
MAX_WATCHERS = 3
#: seconds between two faults
PAUSE_S = (1.0, 3.5)
#: a round on a slow machine goes on until it has had so many faults, for at most so many times its length
LEAST_FAULTS = 3
LONGEST = 4.0


@dataclass
class RoundResult:
    """What a round found."""

    seed: int
    faults: Counter[str]
    calls: int
    alerts: int = 0
    pages: int = 0
    #: records on `calls` that *normalise* had sent before
    repeated: int = 0
    exits: Counter[int] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)


class Chaos:
    """One round."""

    def __init__(self, broker: Broker, folder: Path, seed: int, seconds: float, faults: tuple[str, ...]) -> None:
        self.random = random.Random(seed)
        self.fleet = Fleet.create(broker, folder, f"chaos-{seed}")
        self.seed, self.seconds, self.faults = seed, seconds, faults
        self.happened: Counter[str] = Counter()
        self.sent = 0
        self._traffic = [Traffic(seed, route=f"r{k}", every_ms=20_000) for k in range(SCOPES)]
        self._chosen = scopes_of_traffic(seed, SCOPES)

    def run(self) -> RoundResult:
        """Feed, break, settle, compare."""
        for stage in ("normalise", "watch", "watch", "gate"):
            self.fleet.add(stage)
        try:
            self._feed()
            self.fleet.settle(("normalise", "watch", "gate"))
            self.fleet.stop()
            return self._compare()
        finally:
            self.fleet.kill()

    def _calls(self) -> Iterator[ModelCall]:
        """Calls of many scopes; every now and then one of them changes for good or for a while."""
        changed: dict[int, dict[str, Any]] = {}
        while True:
            scope = next(self._chosen)
            if self.random.random() < 0.002:
                kinds: list[dict[str, Any]] = [{}, {"latency": 2.0}, {"errors": 0.5}, {"price": 3.0}, {"answer": 1.8}]
                changed[scope] = self.random.choice(kinds)
            yield from self._traffic[scope].calls(1, **changed.get(scope, {}))

    def _feed(self) -> None:
        producer = self.fleet.producer()
        calls = self._calls()
        begun = time.monotonic()
        next_fault = begun + 6.0
        recent: list[ModelCall] = []
        while self._goes_on(now := time.monotonic(), begun, self.seconds):
            due = int((now - begun) * CALLS_A_SECOND) - self.sent
            for _ in range(max(due, 0)):
                call = next(calls)
                self.fleet.emit(producer, call)
                recent = [*recent[-50:], call]
                self.sent += 1
                if self.sent % 500 == 0:
                    self._send_oddities(producer, recent)
            self.fleet.tend()
            if now >= next_fault and self._goes_on(now, begun, self.seconds - 5.0):
                self._break()
                next_fault = now + self.random.uniform(*PAUSE_S)
            time.sleep(0.02)
        producer.flush(timeout=120)
        producer.close()

    def _goes_on(self, now: float, begun: float, seconds: float) -> bool:
        few = self.happened.total() < LEAST_FAULTS
        return now - begun < (LONGEST * self.seconds if few else seconds)

    def _send_oddities(self, producer: Any, recent: list[ModelCall]) -> None:
        """A call that its application sent twice, a record that is no JSON, and a control from a person."""
        topics = self.fleet.config.kafka.topics
        self.fleet.emit(producer, self.random.choice(recent))
        producer.send(topics.raw[0], self.random.randbytes(40))
        last = recent[-1]
        deploy = Deploy(time=last.time, app=last.app, route="*", what="release", by="chaos")
        producer.send(topics.control, encode(deploy))

    def _break(self) -> None:
        kind = self.random.choice(self.faults)
        worker: WorkerProcess = self.random.choice(self.fleet.workers)
        if kind == "kill":
            worker.send(signal.SIGKILL)
        elif kind == "term":
            worker.send(signal.SIGTERM)
        elif kind == "freeze":
            if worker.stopped_until_s:
                return
            worker.freeze(self.random.uniform(*FREEZE_S))
        elif kind == "join":
            watchers = [w for w in self.fleet.workers if w.stage == "watch" and w.wanted]
            if len(watchers) >= MAX_WATCHERS:
                leaving = self.random.choice(watchers)
                leaving.wanted = False
                leaving.send(signal.SIGTERM)
                kind = "leave"
            else:
                self.fleet.add("watch")
        elif kind == "broker":
            self.fleet.broker.kill()
            self.fleet.tend()
            self.fleet.broker.start()
        self.happened[kind] += 1

    def _compare(self) -> RoundResult:
        fleet, topics = self.fleet, self.fleet.config.kafka.topics
        result = RoundResult(self.seed, self.happened, self.sent)
        result.exits.update(code for worker in fleet.workers for code in worker.exits)
        calls = [r for r in fleet.read(topics.calls) if r.value[:1] != b"{"]
        ids = {decode_observation(record.value).id for record in calls}
        result.repeated = len(calls) - self.sent - self.sent // 500
        if len(ids) != self.sent:
            result.wrong.append(f"{self.sent} calls were sent, {len(ids)} are on {topics.calls}")
        self._compare_alerts(result, topics)
        self._compare_state(result, topics)
        self._check_pages(result, topics)
        return result

    def _compare_alerts(self, result: RoundResult, topics: TopicSettings) -> None:
        out = self.fleet.folder / f"{self.fleet.name}-alerts.jsonl"
        command = [sys.executable, "-m", "leeboard.pipelines.cli", "replay", "--from-topic", "--json"]
        command += ["--config", str(self.fleet.config_path), "--alerts", str(out)]
        done = subprocess.run(command, capture_output=True, check=False, timeout=300)
        if done.returncode not in (0, 1):
            result.wrong.append(f"replay ended with {done.returncode}: {done.stderr.decode()[-500:]}")
            return
        live = [record.value for record in self.fleet.read(topics.alerts)]
        replayed = out.read_bytes().splitlines()
        result.alerts = len(live)
        extra, missing = Counter(live) - Counter(replayed), Counter(replayed) - Counter(live)
        if extra or missing:
            result.wrong.append(f"alerts: {sum(missing.values())} missing, {sum(extra.values())} too many")

    def _compare_state(self, result: RoundResult, topics: TopicSettings) -> None:
        config = self.fleet.config
        state: dict[int, dict[bytes, bytes]] = {}
        for record in self.fleet.read(topics.state):
            if record.value is None:
                state.setdefault(record.partition, {}).pop(record.key, None)
            else:
                state.setdefault(record.partition, {})[record.key] = record.value
        log: dict[int, list[Any]] = {}
        for record in self.fleet.read(topics.calls):
            log.setdefault(record.partition, []).append(record)
        for partition in range(PARTITIONS):
            if partition not in log:
                continue
            live, offline = (WatchFold(config.engine(), topics, partition) for _ in range(2))
            live.restore(state.get(partition, {}).items())
            offline.begin(0, 0)
            offline.apply(log[partition])
            live.apply(log[partition])  # what came after the last state was written
            wrong = [
                key
                for key in offline.engine.scopes
                if key not in live.engine.scopes or live.engine.snapshot(key) != offline.engine.snapshot(key)
            ]
            for key in wrong[:3]:
                result.wrong.append(f"{key}: {differences(live.engine, offline.engine, key)}")
            if wrong or live.engine.scopes.keys() != offline.engine.scopes.keys():
                result.wrong.append(f"partition {partition}: the state of {len(wrong)} scopes is wrong")
            if live.done != log[partition][-1].offset + 1:
                result.wrong.append(f"partition {partition}: published up to {live.done} only")

    def _check_pages(self, result: RoundResult, topics: TopicSettings) -> None:
        pages = [decode_result(record.value) for record in self.fleet.read(topics.pages)]
        result.pages = len(pages)
        triggers = Counter(page.page_key for page in pages if isinstance(page, Page) and page.status == "trigger")
        if any(count > 1 for count in triggers.values()) or len({encode(page) for page in pages}) != len(pages):
            result.wrong.append("a page was published twice")


def differences(one: Engine, other: Engine, key: str) -> str:
    """In which fields two states of a scope differ."""
    if key not in one.scopes or key not in other.scopes:
        return "one has it, the other does not"
    found = []
    parts = one.snapshot(key), other.snapshot(key)
    for name in sorted(parts[0].keys() | parts[1].keys()):
        if parts[0].get(name) == parts[1].get(name):
            continue
        if name != "scope":
            found.append(name)
            continue
        a, b = (msgspec.msgpack.decode(zlib.decompress(part[name]), type=codec.ScopePart).scope for part in parts)
        fields = [field for field in a.__struct_fields__ if getattr(a, field) != getattr(b, field)]
        found += [f"{field}: {str(getattr(a, field))[:300]} | {str(getattr(b, field))[:300]}" for field in fields]
    return "; ".join(found)


ALL_FAULTS = ("kill", "kill", "term", "freeze", "freeze", "join", "broker")


def main() -> None:
    """Rounds, one line of JSON each; exit code 1 where one is wrong."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=40.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--faults", default=",".join(ALL_FAULTS))
    arguments = parser.parse_args()
    warm_kernels(EngineSettings())  # or the workers of the first round compile until it is over
    failed = 0
    for seed in range(arguments.seed, arguments.seed + arguments.rounds):
        folder = Path(tempfile.mkdtemp(prefix="leeboard-chaos-"))
        with Broker() as broker:
            chaos = Chaos(broker, folder, seed, arguments.seconds, tuple(arguments.faults.split(",")))
            try:
                result = chaos.run()
            except AssertionError as error:
                result = RoundResult(seed, chaos.happened, chaos.sent, wrong=[str(error)])
        failed += bool(result.wrong)
        found = {**vars(result), "faults": dict(result.faults), "exits": dict(result.exits)}
        print(json.dumps(found), flush=True)
        if result.wrong:
            print(f"logs of the workers: {folder}", flush=True)
        else:
            shutil.rmtree(folder, ignore_errors=True)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
