"""Documented changes in real call streams, through the whole product with its defaults."""

import math
from dataclasses import dataclass
from functools import cache

import numpy as np
import pytest
from leeboard.pipelines.config import Config
from leeboard.pipelines.replay import Replay, ReplayedIncident
from leeboard.schemas import ModelCall, SignalShift
from msgspec.structs import replace

from tests.realdata import Stream, load, names, needs_data
from tests.realdata.texts import texts_of

pytestmark = needs_data

START_MS = 1_767_571_200_000
#: calls after a provider switch within which it must be seen
SEEN_WITHIN = 60


@dataclass(frozen=True)
class Seen:
    """An incident by the indices of its calls."""

    incident: ReplayedIncident
    opened: int
    ended: int | None

    @property
    def signals(self) -> dict[str, SignalShift]:
        """Every signal that any of its alerts named."""
        return {signal.name: signal for alert in self.incident.alerts for signal in alert.signals}


def seen(calls: list[ModelCall]) -> list[Seen]:
    place = {call.id: k for k, call in enumerate(calls)}
    runner = Replay(Config())
    runner.feed(iter(calls))
    found = []
    for incident in runner.finish().incidents():
        opened = place[incident.alerts[0].evidence.positions.opening.call_id]
        last = incident.last
        ended = place[last.evidence.positions.this.call_id] if last.resolution is not None else None
        found.append(Seen(incident, opened, ended))
    return found


@cache
def stream(name: str) -> Stream:
    return load(name)


@cache
def incidents(name: str) -> tuple[Seen, ...]:
    return tuple(seen(stream(name).calls))


@pytest.mark.parametrize("name", ["aider", "aider.blind"])
def test_the_error_burst_of_aider_is_an_incident_that_resolves(name: str) -> None:
    (burst,) = [s for s in incidents(name) if 808 <= s.opened <= 840 and "error" in s.signals]
    assert burst.signals["error"].effect > 0.2
    assert burst.incident.last.resolution == "recovered"
    assert burst.incident.paged_at is not None


@pytest.mark.parametrize("name", ["aider", "aider.blind"])
def test_the_cheaper_model_of_aider_is_a_cost_incident(name: str) -> None:
    after = [s for s in incidents(name) if 1624 <= s.opened <= 2126 and "cost_usd" in s.signals]
    assert after
    assert after[0].signals["cost_usd"].channel == "cost"
    assert after[0].signals["cost_usd"].effect < -0.5
    assert "latency_ms" not in after[0].signals


@pytest.mark.parametrize("name", ["aider", "aider.blind"])
def test_one_call_of_913414_tokens_is_no_incident(name: str) -> None:
    (giant,) = [k for k, call in enumerate(stream(name).calls) if call.input_tokens == 913_414]
    named = {"input_tokens", "cost_usd", "cost_given_tokens"}
    assert not [s for s in incidents(name) if giant <= s.opened <= giant + 50 and named & s.signals.keys()]


def latency_move_sd(calls: list[ModelCall], switch: int) -> float:
    """How far mean log latency moves at the switch, in standard deviations before it: the larger of both latencies."""
    moves = []
    for field in ("latency_ms", "ttft_ms"):
        logs = [math.log(v) if (v := getattr(c, field)) else math.nan for c in calls]
        before, after = np.array(logs[:switch]), np.array(logs[switch:])
        if np.isfinite(after).sum() >= SEEN_WITHIN:
            moves.append(abs(np.nanmean(after) - np.nanmean(before)) / np.nanstd(before))
    return max(moves, default=0.0)


SWITCHES = [n for n in names(blind=True) if n.startswith("llmperf") and n.endswith(".blind")]


@pytest.mark.parametrize("name", SWITCHES)
def test_a_provider_switch_is_seen_within_60_calls_where_latency_moves_by_2_sd(name: str) -> None:
    (change,) = stream(name).changes
    if latency_move_sd(stream(name).calls, change.first) < 2.0:
        assert not [s for s in incidents(name) if s.opened < change.first]
        return
    assert change.first <= incidents(name)[0].opened < change.first + SEEN_WITHIN


@pytest.mark.parametrize("provider", ["anyscale", "fireworks", "groq", "perplexity", "together"])
def test_latency_times_three_after_150_calls_pages_within_60_by_the_severe_path(provider: str) -> None:
    calls = stream(f"llmperf.{provider}").calls
    span = calls[-1].time - calls[0].time + 10_000 if isinstance(calls[-1].time, int) else 0
    assert isinstance(span, int)
    slow = [
        replace(c, id=f"slow-{c.id}", time=int(c.time) + span, latency_ms=3.2 * c.latency_ms)  # type: ignore[arg-type]
        for c in calls
        if c.latency_ms is not None
    ]
    found = seen([*calls, *slow])
    assert found
    paged = found[0].incident.paged_at
    assert paged is not None
    within = slow[SEEN_WITHIN - 1].time
    assert isinstance(within, int)
    assert slow[0].time <= paged <= within
    assert found[0].incident.alerts[0].evidence.positions.opening.sequence > len(calls)
    assert any(alert.severity == "critical" for alert in found[0].incident.alerts)


def test_the_regime_of_azure_conversations_and_its_end_are_seen() -> None:
    regime = [s for s in incidents("azure.conv") if 6679 <= s.opened < 16252 and "output_tokens" in s.signals]
    assert regime
    assert regime[0].signals["output_tokens"].effect < -0.2
    assert any(s.ended is not None and s.ended > 16252 and s.incident.last.resolution == "recovered" for s in regime)


def test_the_falling_rate_of_azure_code_is_no_token_incident() -> None:
    assert incidents("azure.code") == ()


def test_clients_in_whose_traffic_nothing_is_documented_do_not_page() -> None:
    for client in ("mid_chunk-66", "mid_chunk-23", "small_chunk-18"):
        assert all(s.incident.paged_at is None for s in incidents(f"servegen.{client}.300"))


def answered(before: str, after: str | None, n: int, more: int) -> list[ModelCall]:
    """Prompts of alpaca, n to one model and more to the next (None: to the same); nothing but texts tells which."""
    rng = np.random.default_rng(500)
    prompts, answers = texts_of("alpaca"), [texts_of(f"alpaca.{model}") for model in (before, after or before)]
    chosen = rng.integers(0, len(prompts), n + more).tolist()
    return [
        ModelCall(
            id=f"call-{k}",
            time=START_MS + 60_000 * k,
            app="assistant",
            input_text=prompts[prompt],
            output_text=answers[k >= n][prompt],
        )
        for k, prompt in enumerate(chosen)
    ]


@pytest.mark.parametrize(
    ("before", "after"),
    [("gpt4_1106_preview", "gpt-4-0125-preview"), ("Mistral-7B-Instruct-v0.2", "Mistral-7B-Instruct-v0.3")],
)
def test_a_silent_model_update_is_found_in_the_texts_and_pages(before: str, after: str) -> None:
    found = seen(answered(before, after, 2000, 400))
    assert [2000 <= one.opened < 2200 for one in found] == [True]
    assert {"output_style", "output_given_input"} <= found[0].signals.keys()
    assert found[0].incident.paged_at is not None
    assert [texts.side for texts in found[0].incident.last.texts] == ["output"]
    assert found[0].incident.last.texts[0].moves


def test_no_update_of_the_model_is_no_incident() -> None:
    assert seen(answered("gpt4_1106_preview", None, 1800, 400)) == []
