"""Whatever happens to the processes of *watch*, what they publish and write is what one undisturbed process would."""

import asyncio
import os
from collections import Counter
from functools import cache

import pytest
from leeboard.pipelines.runtime.fold import SOURCE_HEADER
from leeboard.pipelines.runtime.watch import WatchFold
from leeboard.pipelines.topics import TopicSettings
from leeboard.pipelines.watch.engine import Engine
from leeboard.pipelines.watch.engine import Record as EngineRecord
from leeboard.schemas import Observation, encode, encode_observation
from msgspec.structs import replace

from tests.detectors.texts import made_up
from tests.pipelines.watch.eventful import SETTINGS, Logged, eventful, merged
from tests.pipelines.watch.text_calls import text_calls

from .driver import Driver
from .world import Record, World

TOPICS = TopicSettings()
SEEDS = range(int(os.environ.get("LEEBOARD_SIMULATIONS", "8")))
#: an id at which the engine is made to raise
POISON = "poison"


def wire(offset: int, record: EngineRecord, source: str) -> Record:
    """A record of `calls` as *normalise* writes it."""
    if isinstance(record, Observation):
        key, value = record.scope.encode(), encode_observation(record)
    else:
        key, value = b"control", encode(record)
    return Record(offset, key, value, ((SOURCE_HEADER, source.encode()),))


def texts() -> list[Logged]:
    """A scope of texts: outputs change, then another embedder makes the vectors."""
    (quiet, asked), (moved, asked_then) = made_up(900, 1), made_up(300, 2, moved=2.0)
    calls = [*text_calls(quiet, asked), *text_calls(moved, asked_then, first=900)]
    other, asked_last = made_up(150, 3, moved=2.0)
    calls += text_calls(other, asked_last, first=1200, embedder="table-2")
    return [(call.time, call) for call in calls]


@cache
def logs() -> dict[int, tuple[Record, ...]]:
    """Two partitions: everything that can happen to a scope, some records sent twice, some not readable."""
    made: dict[int, list[Record]] = {0: [], 1: []}
    for index, scope_log in enumerate([*eventful(), texts()]):
        records = merged([scope_log])
        log = made[index % 2]
        for k, record in enumerate(records):
            log.append(wire(len(log), record, f"raw/{index}/{k}/0"))
            if k % 97 == 50:  # normalise started again and sent some a second time
                for again in range(k - 10, k + 1):
                    log.append(wire(len(log), records[again], f"raw/{index}/{again}/0"))
            if k % 211 == 100:
                log.append(Record(len(log), b"x", b"\xc1 not MessagePack"))
            if k == 700 and isinstance(record, Observation):
                log.append(wire(len(log), replace(record, id=POISON), f"poison/{index}/0/0"))
    return {partition: tuple(log) for partition, log in made.items()}


@pytest.fixture(autouse=True)
def engine_that_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    """The engine raises on one record, after it has applied those before it."""
    step = Engine.step

    def raising(self: Engine, records: list[EngineRecord], positions: list[int]) -> object:
        for at, record in enumerate(records):
            if isinstance(record, Observation) and record.id == POISON:
                step(self, records[:at], positions[:at])
                raise ZeroDivisionError("an engine with a defect")
        return step(self, records, positions)

    monkeypatch.setattr(Engine, "step", raising)


def new_world(seed: int) -> World:
    return World(
        {p: list(log) for p, log in logs().items()},
        lambda partition: WatchFold(SETTINGS, TOPICS, partition),
        seed,
        TOPICS.state,
    )


def published(world: World, partition: int, topic: str) -> list[bytes]:
    """Values that were committed to a topic by one partition, in order."""
    return [send.value or b"" for send in world.logs[partition].outputs if send.topic == topic]


def final_state(world: World, partition: int) -> dict[str, dict[str, bytes]]:
    """Snapshots of all scopes as a restore would find them."""
    newest = dict(world.logs[partition].state)
    fold = WatchFold(SETTINGS, TOPICS, partition)
    fold.restore([(key, value) for key, value in newest.items() if value is not None])
    assert fold.next == fold.done == len(world.logs[partition].records)
    fold.engine.validate_state()
    return {key: fold.engine.snapshot(key) for key in sorted(fold.engine.scopes)}


@cache
def never_restored(partition: int) -> dict[str, dict[str, bytes]]:
    """Snapshots of all scopes of a fold that applied the whole log in one go."""
    log = logs()[partition]
    fold = WatchFold(SETTINGS, TOPICS, partition)
    fold.begin(0, 0)
    fold.single_step(0, [record.offset for record in log if POISON.encode() in (record.value or b"")])
    fold.apply(log)
    return {key: fold.engine.snapshot(key) for key in sorted(fold.engine.scopes)}


async def undisturbed() -> World:
    world = new_world(0)
    await Driver(world).finish_calmly()
    return world


@cache
def expected() -> World:
    return asyncio.run(undisturbed())


def test_the_undisturbed_run_holds_what_the_others_are_compared_with() -> None:
    world = expected()
    alerts = [published(world, partition, TOPICS.alerts) for partition in world.logs]
    assert all(len(found) > 10 for found in alerts)
    reasons = Counter(
        record.split(b'"reason":"')[1].split(b'"')[0]
        for p in world.logs
        for record in published(world, p, TOPICS.dead_letters)
    )
    assert any(b'"output_given_input"' in alert for found in alerts for alert in found)
    assert reasons[b"engine_error"] == 4 and reasons[b"not_msgpack"] > 5
    assert all(final_state(world, partition) == never_restored(partition) for partition in world.logs)


async def disturbed(seed: int) -> tuple[World, Counter[str]]:
    world = new_world(seed)
    driver = Driver(world)
    await driver.play(2500)
    await driver.finish_calmly()
    return world, driver.happened


@pytest.mark.parametrize("seed", SEEDS)
def test_no_history_of_faults_changes_what_is_published_or_kept(seed: int) -> None:
    world, happened = asyncio.run(disturbed(seed))
    print(f"seed {seed}: {dict(happened)}")
    assert world.logs.keys() == {0, 1} and len(happened) > 5, "two partitions, and faults"
    for partition in world.logs:
        for topic in (TOPICS.alerts, TOPICS.alert_state, TOPICS.summaries, TOPICS.dead_letters):
            wanted = published(expected(), partition, topic)
            assert published(world, partition, topic) == wanted, (seed, partition, topic)
        assert final_state(world, partition) == never_restored(partition), (seed, partition)
        assert world.logs[partition].committed == len(world.logs[partition].records), (seed, partition)


async def published_during_a_rebalance() -> World:
    world = new_world(0)
    world.calm = True
    process = world.start()
    world.rebalance()
    await world.settle()
    for partition in world.logs:
        process.deliver(partition, 10)
    await world.settle()
    process.in_rebalance = True
    process.run(process.owner.revoked())
    await world.settle()
    assert all(log.committed == 0 for log in world.logs.values())
    process.in_rebalance = False
    world.rebalance()
    for _ in range(3):
        world.now_s += 1.0
        await world.settle()
        process.run(process.owner.tick())
        await world.settle()
    return world


def test_what_is_published_during_a_rebalance_is_committed_after_it() -> None:
    world = asyncio.run(published_during_a_rebalance())
    assert [log.committed for log in world.logs.values()] == [10] * len(world.logs)
