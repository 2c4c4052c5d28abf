"""One broker for all tests, started by the first that asks; topics of its own for each; brokers of one's own."""

import itertools
import re
from collections.abc import Callable, Generator, Iterator

import pytest

from .broker import Broker
from .install import Unavailable

#: the brokers that run, for what a failed test wants to show
_running: list[Broker] = []


def _started(broker: Broker) -> Broker:
    """Start it; where there is no Java or no Maven the test fails and says what to install."""
    try:
        broker.start()
    except Unavailable as error:
        broker.remove()
        pytest.fail(str(error), pytrace=False)
    _running.append(broker)
    return broker


def _removed(broker: Broker) -> None:
    broker.remove()
    _running.remove(broker)


@pytest.fixture(scope="session")
def kafka() -> Iterator[Broker]:
    """The broker that tests share: leave it running, and use topics and groups with names of your own."""
    broker = _started(Broker())
    yield broker
    _removed(broker)


@pytest.fixture(scope="session")
def secure_kafka() -> Iterator[Broker]:
    """The same with logins, TLS and ACLs."""
    broker = _started(Broker(secure=True))
    yield broker
    _removed(broker)


@pytest.fixture
def new_broker() -> Iterator[Callable[..., Broker]]:
    """Start brokers that the test may stop, kill and start; the arguments are those of `Broker`."""
    made: list[Broker] = []

    def new(*, secure: bool = False, settings: dict[str, str] | None = None) -> Broker:
        broker = _started(Broker(secure=secure, settings=settings))
        made.append(broker)
        return broker

    yield new
    for broker in made:
        _removed(broker)


@pytest.fixture
def new_topic(kafka: Broker, request: pytest.FixtureRequest) -> Callable[..., str]:
    """Make topics of the shared broker that only this test knows; the arguments are those of `Broker.create_topic`."""
    test = re.sub(r"[^A-Za-z0-9._-]+", "-", request.node.name)[:200]
    numbers = itertools.count()

    def new(partitions: int = 1, **configs: str) -> str:
        return kafka.create_topic(f"{test}-{next(numbers)}", partitions, **configs)

    return new


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A test that failed shows what its brokers said last."""
    report = yield
    if report.failed:
        for broker in _running:
            report.sections.append((f"log of the broker at {broker.bootstrap}", broker.log_tail()))
    return report
