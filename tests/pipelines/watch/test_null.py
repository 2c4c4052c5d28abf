"""Nothing happens: how often an incident opens all the same, and that it goes away. The benchmark has 1,000 streams."""

import pytest
from leeboard.detectors.core.budget import WARM_UP_NOTICE
from leeboard.pipelines.signals import CHANNELS, ChannelName
from leeboard.pipelines.watch.settings import ChannelSettings, EngineSettings, WatchSettings

from .streams import ALERTS_ONLY, Outcome, Traffic, only, opened, run

STREAMS = range(1000, 1040)
CALLS = 5000
#: calls after which an incident that was none must be over: 800 to settle, and one look
OVER_AFTER = 900


def whole_budget(signal: str, channel: ChannelName) -> EngineSettings:
    """One signal is watched, with the evidence budget of all."""
    none = dict.fromkeys(CHANNELS, 0.0)
    return EngineSettings(
        signals=only(signal).signals,
        channels=ChannelSettings(**{**none, channel: 1.0}),
        watch=WatchSettings(summary_minutes=1e6),
    )


def goes_away(outcome: Outcome) -> bool:
    """Every incident stayed a notice and has recovered or settled, unless the stream ended too soon."""
    return all(
        {a.severity for a in alerts} == {"info"}
        and (
            alerts[-1].resolution in ("recovered", "accepted")
            or alerts[-1].evidence.positions.opening.sequence > CALLS - OVER_AFTER
        )
        for alerts in outcome.incidents()
    )


@pytest.mark.parametrize(
    ("signal", "channel"), [("latency_ms", "latency"), ("output_tokens", "output"), ("error", "error")]
)
def test_a_false_notice_is_rare_goes_away_and_never_pages(signal: str, channel: ChannelName) -> None:
    """All of the budget on one signal makes false notices frequent enough to be seen: one in 10,000 calls at most."""
    found = 0
    for seed in STREAMS:
        outcome = run(Traffic(seed).take(CALLS), whole_budget(signal, channel), batch=CALLS)
        found += len(outcome.incidents())
        assert goes_away(outcome), opened(outcome)
        assert outcome.pages() == []
    assert found <= len(STREAMS) * CALLS / WARM_UP_NOTICE


def test_all_signals_together_keep_within_the_budget() -> None:
    found = 0
    for seed in STREAMS:
        outcome = run(Traffic(seed).take(CALLS), ALERTS_ONLY, batch=CALLS)
        found += len(outcome.incidents())
        assert goes_away(outcome), opened(outcome)
        assert outcome.pages() == []
    assert found <= len(STREAMS) * CALLS / WARM_UP_NOTICE
