"""A worker of another build takes over the state of this one, and this one takes it back: baselines outlive both."""

import re
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from leeboard.schemas import ModelCall, Summary, decode_result

from tests.pipelines.watch.streams import Traffic

from .broker import Broker, free_ports
from .fleet import THIS_BUILD, Fleet, WorkerProcess, config_file
from .test_runtime import leeboard

#: one number and one identity fewer, one of each more (see `builds.swap`)
OTHER_BUILD = ("-m", "tests.kafka.other_build", "swap")
ROUTES = ("a", "b", "slow")


def calls(traffic: list[Traffic], n: int, latency: float) -> Iterator[ModelCall]:
    """Of two quiet routes and one that may be slow."""
    for _ in range(n):
        for each in traffic:
            yield from each.calls(1, latency=latency if each.route == "slow" else 1.0, app_version="1.4")


def watched(fleet: Fleet, build: tuple[str, ...], sent: Iterator[ModelCall]) -> WorkerProcess:
    """A worker of *watch* that takes these calls, and ends in order."""
    worker = fleet.add("watch", build=build)
    producer = fleet.producer()
    for call in sent:
        fleet.emit(producer, call)
    producer.flush()
    producer.close()
    fleet.settle(("normalise", "watch"))
    return worker


def ended(fleet: Fleet, worker: WorkerProcess) -> str:
    """What a worker has said, which ended because it was asked to, and only then."""
    worker.ask_to_stop()
    worker.wait()
    assert worker.exits == [0], fleet.log_tails()
    return worker.log.read_text()


def newest_counts(fleet: Fleet) -> dict[str, dict[str, int]]:
    """Scope -> the counts of its newest summary."""
    found = [decode_result(record.value) for record in fleet.read(fleet.config.kafka.topics.summaries)]
    return {summary.scope: summary.counts for summary in found if isinstance(summary, Summary)}


def metric(port: int, name: str) -> float:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as reply:
        [value] = re.findall(rf'leeboard_{name}_total\{{stage="watch"\}} (\S+)', reply.read().decode())
    return float(value)


def test_a_build_with_signals_more_and_fewer_takes_the_state_over_and_gives_it_back(
    kafka: Broker, tmp_path: Path
) -> None:
    """The incident that one build opened is ended by the other, in the bytes of a build that was never replaced."""
    traffic = [Traffic(seed, route=route) for seed, route in enumerate(ROUTES)]
    fleet = Fleet.create(kafka, tmp_path, "releases")
    try:
        fleet.add("normalise")
        first = watched(fleet, THIS_BUILD, (call for n, x in ((400, 1.0), (40, 3.0)) for call in calls(traffic, n, x)))
        assert "state_signals_dropped" not in str(newest_counts(fleet))
        assert "baselines are dropped" not in ended(fleet, first)

        [port] = free_ports(1)
        config_file(tmp_path, kafka, "releases", http_port=port)
        other = watched(fleet, OTHER_BUILD, (call for n, x in ((250, 1.0), (40, 3.0)) for call in calls(traffic, n, x)))
        assert newest_counts(fleet) == {
            f"/shop/default/{route}": {"state_signals_dropped": 2, "state_signals_new": 2} for route in ROUTES
        }
        assert metric(port, "state_signals_dropped") == metric(port, "state_signals_new") == 2 * len(ROUTES)
        said = ended(fleet, other)
        lines = [line for line in said.splitlines() if "baselines are dropped" in line]
        assert 1 <= len(lines) <= len(ROUTES), "one line for a partition that was restored"

        back = watched(fleet, THIS_BUILD, calls(traffic, 150, 1.0))
        assert newest_counts(fleet)["/shop/default/slow"] == {"state_signals_dropped": 4, "state_signals_new": 4}
        ended(fleet, back)

        live = [record.value for record in fleet.read(fleet.config.kafka.topics.alerts)]
        out = tmp_path / "alerts.jsonl"
        assert leeboard("replay", "--from-topic", "--config", fleet.config_path, "--alerts", out).returncode == 1
        assert sorted(live) == sorted(out.read_bytes().splitlines()) and len(live) >= 5
    finally:
        fleet.kill()
