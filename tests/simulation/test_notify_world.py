"""Whatever happens to the processes of `notify`, its broker, receivers and clocks: every message reaches its sinks.

Checked in every history: each record reaches each sink that it is routed to at least once, or is a dead letter; in
order within an incident, so that the resolve comes last; no offset is committed before every sink is done with what
lies before it; dead letters are written before they are committed past. LEEBOARD_SIMULATIONS sets how many seeds.
"""

import os
from collections import Counter, defaultdict
from functools import cache
from random import Random

import pytest
from leeboard.pipelines.notify.delivery.router import Router
from leeboard.pipelines.notify.feed.events import FeedPartition, FeedRecord
from leeboard.pipelines.notify.feed.instructions import CommitOffsets
from leeboard.pipelines.notify.feed.offsets import DEAD_LETTER_SINK
from leeboard.pipelines.notify.feed.progress import read_metadata
from leeboard.pipelines.notify.feed.settings import FeedSettings
from leeboard.pipelines.notify.messages.message import Message, Stream, read_message
from leeboard.pipelines.notify.settings import NotifySettings, RouteSettings
from leeboard.schemas import Refused, encode

from tests.pipelines.notify.records import notice, page
from tests.pipelines.notify.sinks import settings_of

from .notify_driver import NotifyDriver
from .notify_world import Arrival, Inbox, NotifyWorld

SEEDS = range(int(os.environ.get("LEEBOARD_SIMULATIONS", "12")))
PAGES, ALERTS = FeedPartition("pages", 0), FeedPartition("alerts", 0)
WHEN_MS = 1_800_000_000_000
SETTINGS = FeedSettings(
    notify=NotifySettings(
        sinks={
            "pager": settings_of("pagerduty"),
            "second": settings_of("pagerduty"),
            "chat": settings_of("slack"),
            "hook": settings_of("webhook"),
        },
        routes=[
            RouteSettings(sink="pager"),
            RouteSettings(sink="second", severity=["critical"]),
            RouteSettings(sink="chat", records=["pages", "notices"]),
            RouteSettings(sink="hook", records=["pages", "notices"]),
        ],
        stalled_minutes=2.0,
    ),
    app_id="fleet",
    pages_topic=PAGES.topic,
    alerts_topic=ALERTS.topic,
    session_s=10.0,
    keep_payload=False,
)
#: (sink, partition, offset)
Due = tuple[str, FeedPartition, int]


def story(stream: Stream, incidents: int, chance: Random) -> list[Message]:
    """Incidents that trigger, change and resolve, several at a time; some open again."""
    made: list[Message] = []
    waiting: dict[str, list[Message]] = {}
    make = page if stream == "pages" else notice
    severities = ["warning", "critical"] if stream == "pages" else ["info"]
    for number in range(incidents):
        key = f"{stream}-{number if number % 7 else 0}"
        statuses = ["trigger", *["update"] * chance.randrange(3), "resolve"]
        waiting.setdefault(key, []).extend(
            make(key, status, time=number * 4_000_000 + place, severity=chance.choice(severities))
            for place, status in enumerate(statuses)
        )
    while waiting:
        key = chance.choice(sorted(waiting)[:4])
        made.append(waiting[key].pop(0))
        if not waiting[key]:
            del waiting[key]
    return made


@cache
def logs() -> dict[FeedPartition, tuple[FeedRecord, ...]]:
    """Pages and alerts: some twice, some not readable, with the holes that markers of transactions leave."""
    chance = Random(1)
    made: dict[FeedPartition, tuple[FeedRecord, ...]] = {}
    streams: tuple[tuple[FeedPartition, Stream], ...] = ((PAGES, "pages"), (ALERTS, "notices"))
    for partition, stream in streams:
        values: list[bytes | None] = []
        for place, message in enumerate(story(stream, 24, chance)):
            values.append(encode(message.record))
            if place % 9 == 4:
                values.append(values[-1])
            if place % 13 == 6:
                values.append(chance.choice([b"\xff", b"{}", None]))
        log, offset = [], 0
        for value in values:
            log.append(FeedRecord(offset, value, WHEN_MS + offset))
            offset += chance.choice([1, 1, 2])
        made[partition] = tuple(log)
    return made


@cache
def routed() -> dict[tuple[FeedPartition, int], tuple[str, ...]]:
    """What must reach whom, as one router over the whole log says."""
    found: dict[tuple[FeedPartition, int], tuple[str, ...]] = {}
    for partition, log in logs().items():
        router = Router(SETTINGS.notify)
        for record in log:
            try:
                names = tuple(router.route(read_message(record.value)))
            except Refused:
                names = (DEAD_LETTER_SINK,)
            found[partition, record.offset] = names
    return found


@cache
def due() -> frozenset[Due]:
    return frozenset({(name, *where) for where, names in routed().items() for name in names})


@cache
def refused(sink: str) -> frozenset[tuple[FeedPartition, int]]:
    """Records that this sink never takes."""
    wanted = [where for where, names in routed().items() if sink in names]
    return frozenset(Random(sink).sample(wanted, 4))


def dead_lettered(world: NotifyWorld) -> set[Due]:
    """What has become a dead letter, by sink."""
    found: set[Due] = set()
    for letter in world.letters:
        topic, number, offset = letter.position.rsplit("/", 2)
        name = letter.detail.split(" ")[1].rstrip(":") if letter.reason == "not_delivered" else DEAD_LETTER_SINK
        found.add((name, FeedPartition(topic, int(number)), int(offset)))
    return found


def check_commit(world: NotifyWorld, request: CommitOffsets) -> None:
    """Every sink is done with everything before its watermark."""
    done = world.acknowledged | dead_lettered(world)
    for partition, (offset, text) in request.offsets.items():
        ahead = read_metadata(text).ahead
        early = [
            each for each in due() if each[1] == partition and each[2] < ahead.get(each[0], offset) and each not in done
        ]
        assert not early, f"committed before it is done: {early}"
        assert offset <= world.end(partition) + 1


def check_order(world: NotifyWorld, sink: str, *, across: bool) -> None:
    """Arrivals of an incident are in the order of the log, in each life of a process and, with `across`, over all.

    What one process gave up, the next one may send late, if its dead letter was not written: left out of the latter.
    """
    lives: dict[tuple[int, int, FeedPartition, str], list[int]] = defaultdict(list)
    keys: dict[tuple[FeedPartition, str], list[int]] = defaultdict(list)
    for arrival in world.inboxes[sink].arrivals:
        if arrival.ref is None:
            continue
        where, key = arrival.ref.partition, arrival.message.key
        lives[arrival.process, arrival.following, where, key].append(arrival.ref.offset)
        keys[where, key].append(arrival.ref.offset)
    assert len(keys) > 10
    for life, offsets in lives.items():
        assert offsets == sorted(offsets), (sink, life)
    for (where, key), offsets in keys.items() if across else ():
        kept = [offset for offset in offsets if (sink, where, offset) not in world.dropped]
        assert [*dict.fromkeys(kept)] == sorted({*kept}), (sink, key, "first arrivals")
        assert not kept or kept[-1] == max(kept), (sink, key, "the resolve comes last")


def new_world(seed: int) -> NotifyWorld:
    inboxes = {name: Inbox(refused=refused(name)) for name in SETTINGS.notify.sinks}
    return NotifyWorld(SETTINGS, {p: [*log] for p, log in logs().items()}, inboxes, check_commit, seed)


def check_end(world: NotifyWorld) -> None:
    """Nothing is lost, and everything is committed."""
    arrived = {
        (name, arrival.ref.partition, arrival.ref.offset)
        for name, inbox in world.inboxes.items()
        for arrival in inbox.arrivals
        if arrival.ref is not None
    }
    letters = dead_lettered(world)
    assert due() - arrived - letters == set(), "lost"
    assert (arrived | letters) - due() == set(), "sent to somebody whom it does not concern"
    assert {(name, *where) for name in world.inboxes for where in refused(name)} <= letters
    for partition in world.logs:
        assert world.committed[partition][0] == world.end(partition)


def test_the_log_holds_what_the_histories_need() -> None:
    by_sink = Counter(name for name, _, _ in due())
    assert set(by_sink) == {*SETTINGS.notify.sinks, DEAD_LETTER_SINK}
    assert min(by_sink.values()) > 5
    assert any(set(names) == {"pager", "chat", "hook"} for names in routed().values()), "routes tell records apart"


def test_an_undisturbed_process_sends_everything_once() -> None:
    world = new_world(0)
    world.random.random = lambda: 0.99  # type: ignore[method-assign]  # no receiver fails
    world.start()
    NotifyDriver(world).finish_calmly()
    check_end(world)
    for sink, inbox in world.inboxes.items():
        check_order(world, sink, across=True)
        refs = [arrival.ref for arrival in inbox.arrivals if arrival.ref is not None]
        assert len(refs) == len(set(refs)), "once"
    assert len(world.letters) == len(dead_lettered(world))


def play(seed: int, *, cuts: bool) -> NotifyWorld:
    print(f"seed {seed}, cuts {cuts}")
    world = new_world(seed)
    driver = NotifyDriver(world, cuts)
    driver.play(3000)
    driver.finish_calmly()
    print(f"{dict(driver.happened)}, processes {world.started}, generation {world.generation}")
    assert len(driver.happened) > 15, "a history without faults shows nothing"
    check_end(world)
    return world


@pytest.mark.parametrize("seed", SEEDS)
def test_no_history_of_faults_loses_a_message_or_turns_the_order_round(seed: int) -> None:
    world = play(seed, cuts=False)
    for sink in world.inboxes:
        check_order(world, sink, across=True)


@pytest.mark.parametrize("seed", SEEDS[: len(SEEDS) // 2])
def test_a_process_that_alone_loses_its_broker_loses_nothing(seed: int) -> None:
    """It goes on with what it had taken, while the group gives its partitions to another: each keeps its own order."""
    world = play(seed, cuts=True)
    for sink in world.inboxes:
        check_order(world, sink, across=False)


def test_the_checks_find_what_they_are_for() -> None:
    world = new_world(0)
    world.start()
    NotifyDriver(world).finish_calmly()
    check_end(world)
    hook = world.inboxes["hook"]
    whole = [a for a in hook.arrivals if a.ref and ("hook", a.ref.partition, a.ref.offset) not in world.dropped]
    last_of = {arrival.message.key: arrival.ref for arrival in whole}
    first = next(arrival for arrival in whole if arrival.ref != last_of[arrival.message.key])
    last = whole[-1]
    with pytest.raises(AssertionError, match="committed before it is done"):
        world.acknowledged.clear()
        check_commit(world, CommitOffsets(0, {PAGES: (99, "")}, wait=True))
    hook.arrivals.append(Arrival(99, 1, first.message, first.ref))
    with pytest.raises(AssertionError, match="the resolve comes last"):
        check_order(world, "hook", across=True)
    hook.arrivals = [arrival for arrival in hook.arrivals if arrival.ref != last.ref]
    with pytest.raises(AssertionError, match="lost"):
        check_end(world)
