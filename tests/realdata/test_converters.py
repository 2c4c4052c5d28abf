"""The converters: as many calls as the data have rows, changes where they are documented, and nothing else lost."""

from itertools import pairwise
from pathlib import Path
from statistics import fmean, median

import msgspec
import numpy as np
import pytest
from leeboard.schemas import ModelCall, decode, encode, epoch_ms, scope_key

from tests.realdata import SERIES, Stream, Values, Window, available, folder, load, names, needs_data, series, values
from tests.realdata.servegen import servegen

ALL = sorted({*names(), *names(blind=True)})
CALLS = {
    "aider": 2629,
    "azure.code": 8819,
    "azure.conv": 19_366,
    "azure.mix": 9000,
    "llmdrift.prime.gpt-4": 2000,
    "llmdrift.prime.gpt-3.5-turbo": 2000,
    "llmdrift.opinionqa.gpt-4": 2988,
    "llmdrift.opinionqa.gpt-3.5-turbo": 2988,
}

pytestmark = pytest.mark.data


def expected_calls(name: str) -> int:
    name = name.removesuffix(".blind")
    if name.startswith("llmperf"):  # 150 a provider, but replicate
        return 150 * (1 + ("-" in name)) - 5 * ("replicate" in name)
    if name.startswith("servegen"):
        return 56 * 300
    return 2 * 805 if name.startswith("alpaca") else CALLS[name]


def numbers(stream: Stream, field: str, first: int = 0, last: int | None = None) -> list[float]:
    """A field of the successful calls in [first, last) that have it."""
    found = (getattr(call, field) for call in stream.calls[first:last] if call.error_type is None)
    return [value for value in found if value is not None]


def without(call: ModelCall, *fields: str) -> ModelCall:
    return msgspec.structs.replace(call, **dict.fromkeys(fields))


@needs_data
@pytest.mark.parametrize("name", ALL)
def test_a_stream_is_one_scope_of_valid_calls_in_order_of_time(name: str) -> None:
    stream = load(name)
    assert stream.name == name
    assert len(stream.calls) == expected_calls(name) == len({call.id for call in stream.calls})
    assert all(epoch_ms(a.time) <= epoch_ms(b.time) for a, b in pairwise(stream.calls))
    assert len({scope_key(call.tenant, call.app, call.env, call.route or "") for call in stream.calls}) == 1
    assert all(decode(encode(call)) == call for call in stream.calls)
    for window in (*stream.changes, *stream.grey):
        assert 0 <= window.first < window.last <= len(stream.calls)
    assert all(one.last <= other.first for one, other in pairwise(stream.changes))


@needs_data
@pytest.mark.parametrize("name", [name for name in ALL if name.endswith(".blind")])
def test_blind_streams_hide_what_names_the_change_and_nothing_else(name: str) -> None:
    seen, blind = load(name.removesuffix(".blind")), load(name)
    hidden = "provider" if name.startswith("llmperf") else "model_served"
    assert len({getattr(call, hidden) for call in seen.calls}) > 1
    assert {call.model_served for call in blind.calls} <= {None, "llama-2-70b-chat"}
    assert [without(call, hidden) for call in seen.calls] == blind.calls
    assert (seen.changes, seen.grey, seen.views) == (blind.changes, blind.grey, blind.views)


@needs_data
def test_aider_errors_outlier_and_models_are_where_they_are_documented() -> None:
    stream = load("aider")
    failed = [k for k, call in enumerate(stream.calls) if call.error_type]
    assert len(failed) == 42 and sum(808 <= k <= 836 for k in failed) == 25
    assert sum(call.error_type == "ssl_certificate" for call in stream.calls[808:837]) == 15
    assert stream.calls[1349].input_tokens == 913_414
    first = next(k for k, call in enumerate(stream.calls) if k > 1000 and "deepseek-chat" in (call.model_served or ""))
    assert first == 1624 == stream.changes[1].first
    assert median(numbers(stream, "cost_usd", 1400, 1624)) == pytest.approx(0.0332, abs=2e-4)
    assert median(numbers(stream, "cost_usd", 1680, 2128)) == pytest.approx(0.0012, abs=1e-4)
    assert len(numbers(stream, "latency_ms")) / len(stream.calls) == pytest.approx(0.68, abs=0.02)
    assert median(numbers(stream, "latency_ms", 2386, 2489)) == pytest.approx(17_000, abs=3000)


@needs_data
def test_azure_conv_has_its_regimes_and_code_has_none() -> None:
    conv, code = load("azure.conv"), load("azure.code")
    assert [window.first for window in conv.changes] == [6679, 9179, 13_531, 16_252]
    for (first, last), (context, answer) in {
        (0, 6679): (1040, 194),
        (6679, 9179): (1015, 95),
        (9179, 13_531): (425, 98),
        (16_252, 19_366): (1043, 217),
    }.items():
        assert median(numbers(conv, "input_tokens", first, last)) == pytest.approx(context, rel=0.02)
        assert median(numbers(conv, "output_tokens", first, last)) == pytest.approx(answer, rel=0.02)
    assert code.changes == ()
    assert epoch_ms(code.calls[-1].time) - epoch_ms(code.calls[0].time) == pytest.approx(57.3 * 60_000, rel=0.01)


@needs_data
def test_azure_mix_goes_on_with_code_when_convs_next_call_would_have_come() -> None:
    mix, conv, code = load("azure.mix"), load("azure.conv"), load("azure.code")
    assert mix.changes == (Window("mix", 6000, 9000),)
    assert numbers(mix, "input_tokens", 6000) == numbers(code, "input_tokens", 0, 3000)
    assert mix.calls[6000].time == conv.calls[6000].time
    assert fmean(numbers(mix, "output_tokens", 6000)) < 40 < 150 < fmean(numbers(mix, "output_tokens", 0, 6000))


@needs_data
def test_llmperf_failures_report_no_latency_and_switches_lie_at_the_file_boundary() -> None:
    failures = {"bedrock": 49, "lepton": 130, "perplexity": 2, "anyscale": 0}
    for name, count in failures.items():
        failed = [k for k, call in enumerate(load(f"llmperf.{name}").calls) if call.error_type]
        assert len(failed) == count
        assert all(load(f"llmperf.{name}").calls[k].latency_ms is None for k in failed)
        assert name != "lepton" or failed[0] == 10 == load("llmperf.lepton").changes[0].first
    switch = load("llmperf.anyscale-together")
    assert switch.changes == (Window("switch", 150, 300),)
    assert [call.provider for call in switch.calls[149:151]] == ["anyscale", "together"]
    assert median(numbers(switch, "ttft_ms", 0, 150)) == pytest.approx(210, abs=10)
    assert median(numbers(switch, "ttft_ms", 150)) == pytest.approx(640, abs=10)


@needs_data
def test_llmdrift_asks_the_same_prompts_before_and_after_june() -> None:
    stream = load("llmdrift.prime.gpt-4")
    assert stream.changes == (Window("june", 1000, 2000),)
    march, june = stream.calls[:1000], stream.calls[1000:]
    assert [call.input_text for call in march] == [call.input_text for call in june]
    assert {call.model_served for call in march} == {"gpt-4-0314"} and {c.model_served for c in june} == {"gpt-4-0613"}
    assert fmean(len(call.output_text or "") for call in march) == pytest.approx(638, abs=1)
    assert fmean(len(call.output_text or "") for call in june) == pytest.approx(3.9, abs=0.1)
    assert median(call.latency_ms or 0 for call in march) == pytest.approx(6700, abs=10)
    assert median(call.latency_ms or 0 for call in june) == pytest.approx(1460, abs=10)
    assert fmean(call.cost_usd or 0 for call in march) == pytest.approx(0.0138, abs=1e-4)


@needs_data
def test_servegen_draws_each_window_from_its_distribution() -> None:
    stream = load("servegen.large_chunk-143.300")
    assert stream.changes[0].first == 39 * 300 and stream.grey[0].last == len(stream.calls)
    assert (
        fmean(numbers(stream, "output_tokens", 0, 39 * 300))
        < 5.2
        < 90
        < fmean(numbers(stream, "output_tokens", 39 * 300))
    )
    span_ms = epoch_ms(stream.calls[-1].time) - epoch_ms(stream.calls[0].time)
    assert span_ms == pytest.approx(14 * 86_400_000, rel=1e-3)
    again, more = servegen("m-large_chunk-143"), servegen("m-large_chunk-143", 50)
    assert again.calls == stream.calls
    assert len(more.calls) == 56 * 50 and more.changes[0].first == 39 * 50


@needs_data
def test_alpaca_gives_the_same_prompts_to_both_versions() -> None:
    stream = load("alpaca.gpt4_0314>gpt4_0613")
    assert [call.input_text for call in stream.calls[:805]] == [call.input_text for call in stream.calls[805:]]
    lengths = [len(call.output_text or "") for call in stream.calls]
    assert (round(fmean(lengths[:805])), round(fmean(lengths[805:]))) == (1371, 1141)
    assert load("alpaca.gpt4>gpt4_0314").changes == ()


@needs_data
def test_the_views_are_the_streams_of_the_prototypes_tables() -> None:
    views = {name: view for stream in names() for name, view in values(load(stream)).items()}
    quiet = {"dev": 0, "test": 0}
    changes = {"dev": 0, "test": 0}
    for view in views.values():
        quiet[view.split] += int(view.quiet().sum())
        changes[view.split] += len(view.changes)
        assert np.isfinite(view.values).all()
    assert len(views) == 53
    assert quiet == {"dev": 105_649, "test": 166_161} and changes == {"dev": 15, "test": 19}
    assert {name for name, view in views.items() if view.days is not None} == {n for n in views if n.startswith("sg")}
    assert [name for name, view in views.items() if view.binary] == ["ai.error"]
    assert views["ai.cost_usd"].values.size == 2587 and views["ai.latency_s"].values.max() < 3600
    assert views["ld0.gpt-4.prime.len"].values.size == 1000


@needs_data
def test_the_series_are_those_of_the_prototypes_tables() -> None:
    found = series()
    assert len(found) == SERIES
    quiet = {
        split: sum(int(one.quiet().sum()) for one in found.values() if one.split == split) for split in ("dev", "test")
    }
    assert quiet == {"dev": 59_108, "test": 90_618}
    taxi = found["nab.nyc_taxi"]
    assert taxi.minutes is not None and taxi.minutes[1] - taxi.minutes[0] == 30


def test_a_score_counts_alarms_outside_every_window_and_delays_inside() -> None:
    one = Values(
        values=np.zeros(100),
        split="dev",
        changes=(Window("a", 20, 30), Window("b", 50, 60)),
        grey=(Window("after", 30, 40),),
        days=np.arange(100) / 2,
    )
    assert one.score([5, 24, 27, 33, 45, 99]) == (3, {"a.0": 4, "b.1": None})
    assert one.score([]) == (0, {"a.0": None, "b.1": None})
    assert int(one.quiet().sum()) == 70
    assert one.minutes is not None and one.minutes[[1, 14]].tolist() == [720, 0]


def test_absent_data_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(folder.VARIABLE, str(tmp_path))
    (tmp_path / "nab").mkdir()
    assert not available()
    assert folder.missing() == [name for name in folder.FOLDERS if name != "nab"]
    with pytest.raises(FileNotFoundError):
        load("aider")
    assert "real data not found" in needs_data.kwargs["reason"]
