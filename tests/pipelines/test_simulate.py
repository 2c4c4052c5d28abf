"""The simulated fleet: deterministic, in order, true to its truth, and quiet where nothing happens."""

import json
import statistics
from collections import Counter, defaultdict
from collections.abc import Iterable
from itertools import islice, pairwise
from typing import get_args

import msgspec
import numpy as np
import pytest
from leeboard.pipelines import simulate as sim
from leeboard.pipelines.signals import BINARY, CATEGORICAL, NUMERIC
from leeboard.schemas import ModelCall, decode, encode, epoch_ms, scope_key
from msgspec.structs import replace

DAY_MS = 86_400_000
START = sim.START_MS
CHANGE = START + 2 * DAY_MS + 3_723_000


def app(route: str, calls_a_day: float = 2000) -> sim.App:
    """One application of the default fleet, at a volume of its own."""
    return next(replace(one, calls_a_day=calls_a_day) for one in sim.fleet(1000) if one.route == route)


def scenario(one: sim.App, *causes: sim.AnyCause, seed: int = 5, days: float = 4, text: bool = False) -> sim.Scenario:
    return sim.Scenario(seed=seed, duration_ms=round(days * DAY_MS), apps=(one,), causes=causes, text=text)


def with_and_without(one: sim.App, cause: sim.AnyCause) -> tuple[list[tuple[ModelCall, ModelCall]], sim.Injected]:
    """Pairs (call with the cause, the same call without) from the start on; before it both worlds are equal."""
    world = scenario(one, cause)
    changed = list(sim.simulate(world))
    base = list(sim.simulate(replace(world, causes=())))
    [injected] = sim.truth(world)
    n = injected.calls_before
    assert n > 1000 and injected.calls_after > 1000
    assert changed[:n] == base[:n], "a cause leaks before its start"
    assert [call.id for call in changed] == [call.id for call in base]
    assert changed[n].id == injected.first_call and epoch_ms(changed[n].time) >= cause.start_ms
    return list(zip(changed[n:], base[n:], strict=True)), injected


def ratio(pairs: Iterable[tuple[ModelCall, ModelCall]], field: str) -> float:
    """Median ratio of a field, with the cause over without, where both calls have it."""
    both = [(getattr(a, field), getattr(b, field)) for a, b in pairs if a.error_type is b.error_type is None]
    return float(np.median([a / b for a, b in both if a is not None and b]))


def by_scope(calls: Iterable[ModelCall]) -> dict[str, list[ModelCall]]:
    scopes = defaultdict(list)
    for call in calls:
        scopes[scope_key(None, call.app, call.env, call.route or "")].append(call)
    return scopes


@pytest.fixture(scope="module")
def demo() -> list[ModelCall]:
    return list(sim.simulate(sim.demo_scenario(0)))


def test_the_same_seed_gives_the_same_bytes_and_another_seed_does_not() -> None:
    first, again, other = (
        [encode(call) for call in sim.simulate(sim.default_scenario(seed, 2, 800))] for seed in (7, 7, 8)
    )
    assert first == again
    assert not {json.loads(line)["id"] for line in first} & {json.loads(line)["id"] for line in other}


def test_calls_come_in_order_of_time_with_unique_ids_and_survive_the_wire(demo: list[ModelCall]) -> None:
    assert all(epoch_ms(a.time) <= epoch_ms(b.time) for a, b in pairwise(demo))
    assert len({call.id for call in demo}) == len({(call.trace_id, call.span_id) for call in demo}) == len(demo)
    for call in demo:
        assert decode(encode(call)) == call


def test_calls_are_made_as_they_are_asked_for() -> None:
    huge = sim.default_scenario(0, days=366, calls_a_day=10_000_000)
    assert len(list(islice(sim.simulate(huge), 100))) == 100


def test_a_scope_does_not_depend_on_the_rest_of_the_fleet() -> None:
    whole = sim.default_scenario(3, 3, 1000, text=False)
    one = next(app for app in whole.apps if app.route == "edit")
    alone = replace(whole, apps=(one,), causes=tuple(whole.causes_of(one.scope)))
    assert len(alone.causes) == 2
    assert by_scope(sim.simulate(whole))[one.scope] == list(sim.simulate(alone))


def test_the_text_switch_changes_no_number() -> None:
    written, bare = (list(sim.simulate(scenario(app("edit"), text=text, days=1))) for text in (True, False))
    assert all(call.input_text for call in written) and all(call.output_text for call in written if not call.error_type)
    assert [replace(call, input_text=None, output_text=None) for call in written] == bare


def test_texts_are_as_long_as_their_tokens_say() -> None:
    calls = [call for call in sim.simulate(scenario(app("chat-answer"), text=True)) if call.output_text]
    short = [call for call in calls if 40 <= (call.output_tokens or 0) <= 120]
    lengths = [len(call.output_text or "") / (4 * (call.output_tokens or 1)) for call in short]
    assert 0.85 < statistics.median(lengths) < 1.15
    assert max(len(call.output_text or "") for call in calls) <= 600


def test_json_answers_are_json_unless_they_were_cut() -> None:
    cause = sim.Truncation(scope=app("invoice-extraction").scope, start_ms=CHANGE, max_tokens=200)
    answers = defaultdict(list)
    for call in sim.simulate(scenario(app("invoice-extraction"), cause, text=True)):
        if call.output_text is not None:
            answers[call.finish_reason == "length"].append(call.output_text)
    assert all("items" in json.loads(text) for text in answers[False])
    for text in answers[True]:
        with pytest.raises(json.JSONDecodeError):
            json.loads(text)


def test_silent_update_lengthens_answers_and_changes_their_style_under_the_same_model() -> None:
    one = app("chat-answer")
    cause = sim.SilentUpdate(scope=one.scope, start_ms=CHANGE)
    pairs, truth = with_and_without(one, cause)
    assert ratio(pairs, "output_tokens") == pytest.approx(cause.length, rel=0.02)
    assert 1.2 < ratio(pairs, "latency_ms") < cause.length
    assert all(a.model_served == b.model_served and a.input_tokens == b.input_tokens for a, b in pairs)
    assert truth.answers == ("behaviour_changed",) and truth.channels == ("output",)
    marked = Counter[bool]()
    calls = Counter[bool]()
    for call in sim.simulate(scenario(one, cause, text=True)):
        if call.output_text:
            calls[epoch_ms(call.time) >= CHANGE] += 1
            marked[epoch_ms(call.time) >= CHANGE] += "\n- " in call.output_text
    assert marked[False] / calls[False] < 0.2 < 0.6 < marked[True] / calls[True]


def test_served_model_changed_switches_every_answer_after_its_start_and_none_before() -> None:
    one = app("document-qa")
    cause = sim.ServedModelChanged(scope=one.scope, start_ms=CHANGE, model=sim.SERVED["haiku"])
    pairs, truth = with_and_without(one, cause)
    assert {a.model_served for a, _ in pairs if not a.error_type} == {"claude-haiku-4-5-20251001"}
    assert {b.model_served for _, b in pairs if not b.error_type} == {"claude-sonnet-4-5-20250929"}
    assert {a.model_requested for a, _ in pairs} == {"claude-sonnet-4-5"}
    assert ratio(pairs, "latency_ms") < 0.6 and ratio(pairs, "output_tokens") == pytest.approx(0.8, rel=0.02)
    assert truth.answers == ("served_model_changed",) and "identity" in truth.channels


def test_prompt_edited_changes_version_text_and_answers() -> None:
    one = app("edit")
    prompt = sim.Prompt(name="edit", version="22", text="Be brief.", tokens=362)
    pairs, _ = with_and_without(one, sim.PromptEdited(scope=one.scope, start_ms=CHANGE, prompt=prompt))
    assert {(a.prompt_version, b.prompt_version) for a, b in pairs} == {("22", "21")}
    assert {a.system_text for a, _ in pairs} == {"Be brief."}
    assert ratio(pairs, "output_tokens") < 0.8


def test_traffic_mix_brings_a_new_kind_at_its_share_and_leaves_the_others_alone() -> None:
    one = app("invoice-extraction")
    kind = sim.RequestKind(name="new", share=1, input_tokens=6500, output_tokens=95, topic="receipts")
    pairs, _ = with_and_without(one, sim.TrafficMix(scope=one.scope, start_ms=CHANGE, kind=kind, share=0.3))
    moved = [a.input_tokens != b.input_tokens for a, b in pairs if not a.error_type]
    assert statistics.fmean(moved) == pytest.approx(0.3, abs=0.03)
    same = [(a, b) for a, b in pairs if a.input_tokens == b.input_tokens]
    assert all(a == b for a, b in same)


def test_slowdown_multiplies_latency_only() -> None:
    one = app("ticket-classifier")
    pairs, _ = with_and_without(one, sim.Slowdown(scope=one.scope, start_ms=CHANGE))
    fresh = [(a, b) for a, b in pairs if not a.cached and not a.error_type]
    assert ratio(fresh, "latency_ms") == pytest.approx(1.6, rel=0.01)
    assert all(replace(a, latency_ms=0) == replace(b, latency_ms=0) for a, b in fresh)


def test_error_burst_fails_25_of_30_calls_and_is_over() -> None:
    one = app("ticket-classifier")
    pairs, truth = with_and_without(one, sim.ErrorBurst(scope=one.scope, start_ms=CHANGE))
    assert Counter(a.error_type for a, _ in pairs[:30])["overloaded"] == 25
    assert all(a == b for a, b in pairs[30:])
    assert truth.end_ms is not None
    assert epoch_ms(pairs[29][0].time) < truth.end_ms <= epoch_ms(pairs[30][0].time)
    failed = [a for a, _ in pairs if a.error_type]
    assert {(a.output_tokens, a.model_served, a.finish_reason) for a in failed} == {(None, None, None)}


def test_price_rise_doubles_the_cost_of_the_same_tokens() -> None:
    one = app("nightly-summary")
    pairs, _ = with_and_without(one, sim.PriceRise(scope=one.scope, start_ms=CHANGE))
    assert ratio(pairs, "cost_usd") == pytest.approx(2, rel=1e-3)
    assert all(a.output_tokens == b.output_tokens for a, b in pairs)


def test_one_tenant_leaves_the_other_tenants_alone() -> None:
    one = app("invoice-extraction")
    pairs, truth = with_and_without(one, sim.OneTenant(scope=one.scope, start_ms=CHANGE, tenant="south"))
    assert ratio((pair for pair in pairs if pair[0].tenant == "south"), "output_tokens") == pytest.approx(2.2, rel=0.02)
    assert all(a == b for a, b in pairs if a.tenant != "south")
    assert statistics.fmean(a.tenant == "south" for a, _ in pairs) == pytest.approx(0.3, abs=0.04)
    assert truth.answers[0] == "segment"


def test_truncation_cuts_long_answers() -> None:
    one = app("edit")
    pairs, _ = with_and_without(one, sim.Truncation(scope=one.scope, start_ms=CHANGE, max_tokens=500))
    assert all((a.output_tokens or 0) <= 500 and a.params["max_tokens"] == 500 for a, _ in pairs if a.params)
    cut = statistics.fmean(a.finish_reason == "length" for a, _ in pairs)
    assert cut > 0.3 > 0.02 > statistics.fmean(b.finish_reason == "length" for _, b in pairs)


def test_caching_lost_lowers_the_cached_share() -> None:
    one = app("document-qa")
    pairs, _ = with_and_without(one, sim.CachingLost(scope=one.scope, start_ms=CHANGE))
    hits = [[bool(call.cached_tokens) for call in calls if not call.error_type] for calls in zip(*pairs, strict=True)]
    assert statistics.fmean(hits[0]) == pytest.approx(0.085, abs=0.02)
    assert statistics.fmean(hits[1]) == pytest.approx(0.85, abs=0.02)


def test_field_lost_removes_the_token_counts() -> None:
    one = app("nightly-summary")
    pairs, _ = with_and_without(one, sim.FieldLost(scope=one.scope, start_ms=CHANGE))
    assert all(a.input_tokens is a.output_tokens is None for a, _ in pairs)
    assert all(b.input_tokens for _, b in pairs if not b.error_type)


def test_slow_drift_grows_over_its_ramp_and_stays() -> None:
    one = app("chat-answer")
    pairs, truth = with_and_without(one, sim.SlowDrift(scope=one.scope, start_ms=CHANGE, ramp_days=1))
    assert truth.complete_ms == CHANGE + DAY_MS
    first = [pair for pair in pairs if epoch_ms(pair[0].time) < CHANGE + DAY_MS // 8]
    last = [pair for pair in pairs if epoch_ms(pair[0].time) >= truth.complete_ms]
    assert 1 <= ratio(first, "output_tokens") < 1.08
    assert ratio(last, "output_tokens") == pytest.approx(1.6, rel=0.02)


def test_an_outlier_is_one_call_that_nobody_should_hear_of() -> None:
    one = app("policy-qa")
    pairs, truth = with_and_without(one, sim.Outlier(scope=one.scope, start_ms=CHANGE))
    assert pairs[0][0].input_tokens == 913_414 and truth.answers == truth.moves == ()
    assert all(a == b for a, b in pairs[1:])


def test_a_release_changes_the_version_of_the_application_only() -> None:
    one = app("query-rewrite")
    pairs, truth = with_and_without(one, sim.Release(scope=one.scope, start_ms=CHANGE, version="2.0.0"))
    assert {a.app_version for a, _ in pairs} == {"2.0.0"} and truth.answers == ()
    assert all(replace(a, app_version=b.app_version) == b for a, b in pairs)


def test_a_cause_with_an_end_is_gone_after_it() -> None:
    one = app("ticket-classifier")
    pairs, truth = with_and_without(one, sim.Slowdown(scope=one.scope, start_ms=CHANGE, end_ms=CHANGE + DAY_MS // 2))
    assert truth.end_ms == CHANGE + DAY_MS // 2
    assert all(a == b for a, b in pairs if epoch_ms(a.time) >= truth.end_ms)
    assert ratio((p for p in pairs if epoch_ms(p[0].time) < truth.end_ms and not p[0].cached), "latency_ms") > 1.5


def test_quiet_scopes_stay_as_they_are() -> None:
    calls = by_scope(sim.simulate(sim.default_scenario(11, 14, 6000, causes=(), text=False)))
    for scope, mine in calls.items():
        first, second = mine[: len(mine) // 2], mine[len(mine) // 2 :]
        for field in ("input_tokens", "output_tokens", "latency_ms"):
            a, b = (
                np.sort([getattr(call, field) for call in half if not call.error_type and not call.cached])
                for half in (first, second)
            )
            grid = np.concatenate([a, b])
            gap = np.abs(np.searchsorted(a, grid, "right") / a.size - np.searchsorted(b, grid, "right") / b.size).max()
            assert gap < 0.08 + 1.63 * (1 / a.size + 1 / b.size) ** 0.5, f"{scope} {field}: KS distance {gap:.3f}"
        failed = [statistics.fmean(call.error_type is not None for call in half) for half in (first, second)]
        assert abs(failed[0] - failed[1]) < 0.004 + 4 * (0.02 / len(first)) ** 0.5 and max(failed) < 0.02
        for field in ("model_served", "prompt_version", "system_text"):
            assert len({getattr(call, field) for call in mine if not call.error_type}) == 1


def test_traffic_follows_day_and_week_and_volumes_differ_tenfold() -> None:
    calls = by_scope(sim.simulate(sim.default_scenario(2, 14, 6000, causes=(), text=False)))
    volumes = sorted(len(mine) for mine in calls.values())
    assert volumes[-1] > 9 * volumes[0] and sum(volumes) == pytest.approx(14 * 6000, rel=0.05)
    office = calls["/contracts/production/document-qa"]
    hours = Counter(epoch_ms(call.time) // 3_600_000 % 24 for call in office)
    days = Counter((epoch_ms(call.time) - START) // DAY_MS % 7 for call in office)
    assert hours[10] > 10 * hours[3] and days[1] > 2 * days[6]
    batch = Counter(epoch_ms(call.time) // 3_600_000 % 24 for call in calls["/insights/batch/nightly-summary"])
    assert sum(batch[hour] for hour in range(5)) > 0.9 * batch.total()


def test_sizes_and_latencies_have_heavy_tails() -> None:
    calls = [c for c in sim.simulate(scenario(app("edit", 10_000), days=7)) if not c.error_type]
    for field, times in (("input_tokens", 12), ("latency_ms", 6)):
        p50, p999 = np.quantile([getattr(call, field) for call in calls], [0.5, 0.999])
        assert p999 > times * p50


def test_calls_of_a_session_share_their_user_and_their_size() -> None:
    sessions = defaultdict(list)
    for call in sim.simulate(scenario(app("edit", 5000))):
        sessions[call.session].append(call)
    assert statistics.fmean(map(len, sessions.values())) == pytest.approx(5, abs=0.5)
    assert all(len({(call.user, call.tenant) for call in mine}) == 1 for mine in sessions.values())
    assert all(len({str(call.labels) for call in mine}) == 1 for mine in sessions.values())
    pairs = [
        np.log([a.input_tokens, b.input_tokens])
        for mine in sessions.values()
        for a, b in pairwise(mine)
        if a.input_tokens and b.input_tokens
    ]
    assert np.corrcoef(np.array(pairs).T)[0, 1] > 0.15


def test_questions_that_are_asked_again_have_the_same_text_and_only_they_are_answered_from_the_cache() -> None:
    calls = [c for c in sim.simulate(scenario(app("ticket-classifier"), text=True)) if not c.error_type]
    asked = Counter(call.input_text for call in calls)
    cached = [call for call in calls if call.cached]
    assert 0.05 < len(cached) / len(calls) < 0.13
    assert all(asked[call.input_text] > 10 for call in cached)
    assert statistics.median(call.latency_ms or 0 for call in cached) < 10


def test_the_demo_has_room_around_every_cause_and_quiet_scopes(demo: list[ModelCall]) -> None:
    assert 15_000 <= len(demo) <= 25_000
    for seed in range(20):
        world = sim.demo_scenario(seed)
        causes = [one for one in sim.truth(world) if one.answers]
        assert 5 <= len(causes) <= 7 and len({one.scope for one in causes}) >= 5
        assert len({app.scope for app in world.apps} - {one.scope for one in causes}) >= 2
        for one in causes:
            later = [o.calls_before for o in causes if o.scope == one.scope and o.calls_before > one.calls_before]
            assert one.calls_before >= 600, (seed, one)
            assert min([one.calls_before + one.calls_after, *later]) - one.calls_before >= 300, (seed, one)


def test_the_truth_counts_the_calls_of_its_scope(demo: list[ModelCall]) -> None:
    scopes = by_scope(demo)
    for one in sim.truth(sim.demo_scenario(0)):
        mine = scopes[one.scope]
        assert sum(epoch_ms(call.time) < one.start_ms for call in mine) == one.calls_before
        assert len(mine) == one.calls_before + one.calls_after
        assert mine[one.calls_before].id == one.first_call


def test_the_truth_names_signals_and_channels_of_the_engine() -> None:
    known = {signal.name: signal.channel for signal in (*NUMERIC, *BINARY, *CATEGORICAL)}
    for cause in get_args(sim.AnyCause):
        assert set(cause.moves) | set(cause.follow) <= set(known) | {"app_version"}  # a label only
    for one in sim.truth(sim.default_scenario(0, 5, 2000)):
        assert set(one.channels) == {known[name] for name in one.moves}


def test_every_cause_can_be_had_by_name() -> None:
    assert [cause.name for cause in sim.default_scenario(causes=["price_rise"]).causes] == ["price_rise"]
    assert {one.cause for one in sim.truth(sim.default_scenario(0, 5, 2000))} == set(sim.CAUSES)
    assert len({one.answers[0] for one in sim.truth(sim.default_scenario(0, 5, 2000)) if one.answers}) == 6
    with pytest.raises(ValueError, match="unknown causes: flood"):
        sim.default_scenario(causes=["flood"])


def test_scenarios_and_truth_survive_json() -> None:
    world = sim.default_scenario(4, 3, 500)
    assert msgspec.json.decode(msgspec.json.encode(world), type=sim.Scenario) == world
    truth = sim.truth(world)
    assert msgspec.json.decode(msgspec.json.encode(truth), type=list[sim.Injected]) == truth


@pytest.mark.parametrize(
    ("cause", "reason"),
    [
        (sim.Slowdown(scope="/no/such/scope", start_ms=CHANGE), "no application"),
        (sim.Slowdown(scope=app("edit").scope, start_ms=START - 1), "outside"),
        (sim.PriceRise(scope=app("edit").scope, start_ms=CHANGE), "price table"),
        (sim.OneTenant(scope=app("edit").scope, start_ms=CHANGE, tenant="south"), "no tenant"),
    ],
)
def test_impossible_scenarios_are_refused(cause: sim.AnyCause, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        scenario(app("edit"), cause)


def test_the_price_table_knows_every_model() -> None:
    prices = pytest.importorskip("genai_prices", reason="the price table comes with the extra [detectors]")
    usage = prices.Usage(input_tokens=1000, output_tokens=100)
    for model in sim.SERVED.values():
        assert prices.calc_price(usage, model.served, provider_id=model.provider).total_price > 0
