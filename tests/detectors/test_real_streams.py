"""The budget on real call streams in their own order, where nothing is documented to have changed."""

import numpy as np
import pytest

from tests.bench.crossings import call_views, judge
from tests.bench.drive import at_level
from tests.realdata import Values, needs_data

from .streams import poisson_limit

pytestmark = [pytest.mark.data, needs_data]


@pytest.fixture(scope="module")
def views() -> dict[str, Values]:
    return call_views()


@pytest.mark.parametrize("level", [1e3, 1e4])
def test_streams_as_dependent_as_real_traffic_keep_the_budget(views: dict[str, Values], level: float) -> None:
    false, events, _ = judge(views, at_level(level), (0,))
    assert events > 200_000
    assert false <= poisson_limit(events / level), (false, events / level)


def test_documented_changes_are_found_at_the_same_level(views: dict[str, Values]) -> None:
    """A detector that never fires would keep any budget. Not every quantity of a stream moves with its change."""
    _, _, delays = judge(views, at_level(1e4), (0,))
    found = [delay for delay in delays if delay is not None]
    assert len(found) >= 0.5 * len(delays)
    assert np.median(found) <= 40
