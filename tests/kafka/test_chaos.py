"""One round of chaos in every run of the tests; `make chaos ROUNDS=20` plays more."""

from collections.abc import Callable
from pathlib import Path

from .broker import Broker
from .chaos import ALL_FAULTS, LEAST_FAULTS, Chaos


def test_a_round_of_chaos_changes_nothing(new_broker: Callable[..., Broker], tmp_path: Path) -> None:
    """Killed, ended, frozen and joined workers, and a broker that is killed: alerts and states are as in a replay."""
    chaos = Chaos(new_broker(), tmp_path, 7, 25.0, ALL_FAULTS)
    result = chaos.run()
    assert result.wrong == [], f"{result}\n{chaos.fleet.log_tails()}"
    assert result.alerts > 0
    assert result.faults.total() >= LEAST_FAULTS
