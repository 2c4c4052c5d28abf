"""`leeboard compare`: what it says of two sets of calls, and how often it is wrong."""

from collections.abc import Sequence

import msgspec
import numpy as np
import pytest
from leeboard.pipelines.compare import CompareSettings, Comparison, Floors, SignalComparison, compare
from leeboard.pipelines.compare.pairs import MIN_GROUPS
from leeboard.schemas import FLAGS, NUMBERS, Observation
from scipy import stats

Columns = dict[str, Sequence[object]]


def observe(prefix: str, n: int, columns: Columns, **per_call: Sequence[object]) -> list[Observation]:
    """n calls a second apart. `columns`: numbers and flags by name; `per_call`: other fields of Observation."""
    table = np.full((n, len(NUMBERS)), np.nan, "<f4")
    flags = np.zeros(n, int)
    for name, values in columns.items():
        if name in NUMBERS:
            table[:, NUMBERS.index(name)] = values
        else:
            flags |= (np.asarray(values, int) + 1) << 2 * FLAGS.index(name)
    return [
        Observation(
            id=f"{prefix}{i}",
            id_hash=i,
            time=1000 * i,
            scope="/app/default/chat",
            numbers=table[i].tobytes(),
            flags=int(flags[i]),
            **{name: values[i] for name, values in per_call.items()},
        )
        for i in range(n)
    ]


def traffic(rng, n, prefix="b", *, slower=1.0, longer=1.0, dearer=1.0, failing=0.02, session_sd=0.3, known=True):
    """Calls of a chat in sessions of three on average: lognormal sizes, Pareto tails, t-distributed speed."""
    session = np.cumsum(rng.random(n) < 1 / 3)
    own = session_sd * rng.standard_normal((n + 1, 4))[session]
    tail = np.where(rng.random(n) < 0.01, 1 + 5 * rng.pareto(1.1, n), 1.0)
    inputs = np.round(600 * np.exp(0.8 * rng.standard_normal(n) + own[:, 0])) + 1
    outputs = np.round(200 * np.exp(0.5 * rng.standard_normal(n) + own[:, 1]) * longer * tail) + 1
    speed = np.exp(0.3 * rng.standard_t(4, n) + own[:, 2])
    failed = rng.random(n) < failing
    columns = {
        "input_tokens": inputs,
        "output_tokens": outputs,
        "latency_ms": (400 + 12 * outputs) * speed * slower,
        "ttft_ms": 300 * np.exp(0.5 * rng.standard_normal(n)),
        "cost_usd": (2.5e-6 * inputs + 1e-5 * outputs) * dearer,
        "cached_share": np.where(rng.random(n) < 0.5, 0, rng.beta(2, 2, n)),
        "tool_calls": rng.poisson(0.3, n),
        "error": failed,
        "truncated": rng.random(n) < 0.03,
        "empty": rng.random(n) < 0.004,
    }
    scores = [{"judge": v, "passed": float(v > 3)} for v in (4 + rng.standard_normal(n) + own[:, 3]).tolist()]
    categories = [
        {"finish_reason": "stop" if rng.random() < 0.97 else "length", "error_type": "timeout" if bad else "none"}
        for bad in failed
    ]
    sessions = [f"{prefix}{s}" if known else None for s in session]
    return observe(prefix, n, columns, scores=scores, categories=categories, session=sessions)


def named(comparison: Comparison, name: str) -> SignalComparison:
    return next(signal for signal in comparison.signals if signal.name == name)


def of(name: str, base: Sequence[object], candidate: Sequence[object], **settings) -> SignalComparison:
    """Compare two columns of one signal."""
    sides = [observe(prefix, len(v), {name: v}) for prefix, v in (("b", base), ("c", candidate))]
    return named(compare(*sides, CompareSettings(**settings)), name)


def said(comparison: Comparison) -> list[str]:
    return [s.name for s in comparison.signals if s.verdict in ("better", "worse", "changed")]


# What it says


def test_a_slower_candidate_is_worse_and_the_same_swapped_is_better():
    rng = np.random.default_rng(1)
    columns = [{"latency_ms": 800 * factor * np.exp(0.8 * rng.standard_normal(400))} for factor in (1.0, 1.5)]
    base, candidate = (observe(prefix, 400, column) for prefix, column in zip("bc", columns, strict=True))
    forth, back = compare(base, candidate), compare(candidate, base)
    assert (forth.verdict, forth.exit_code) == ("worse", 1)
    assert (back.verdict, back.exit_code) == ("better", 0)
    latency, mirrored = named(forth, "latency_ms"), named(back, "latency_ms")
    assert 0.2 < latency.low < latency.effect < latency.high < 0.9
    assert (1 + latency.effect) * (1 + mirrored.effect) == pytest.approx(1)
    assert (1 + latency.low) * (1 + mirrored.high) == pytest.approx(1)
    assert latency.after / latency.before == pytest.approx(1 + latency.effect, rel=0.01)
    assert latency.sentence.startswith("latency_ms is ") and latency.sentence.endswith(": worse.")
    assert forth.sentence == "Worse: latency_ms."


def test_the_order_of_the_calls_does_not_matter_and_the_answer_is_json():
    rng = np.random.default_rng(2)
    base, candidate = traffic(rng, 150), traffic(rng, 120, "c", slower=1.4)
    comparison = compare(base, candidate)
    assert compare(base[::-1], candidate[::-1]) == comparison
    assert msgspec.json.decode(msgspec.json.encode(comparison), type=Comparison) == comparison


def test_a_difference_below_the_floor_is_real_but_small():
    rng = np.random.default_rng(3)
    columns = [800 * factor * np.exp(0.2 * rng.standard_normal(1000)) for factor in (1.0, 1.08)]
    small = of("latency_ms", *columns)
    assert small.verdict == "no_difference_shown"
    assert small.low > 0
    assert "real, but below the floor of 20 %" in small.sentence
    assert of("latency_ms", *columns, floors=Floors(latency=0.05)).verdict == "worse"


def test_too_few_calls_says_how_many_would_do():
    rng = np.random.default_rng(4)

    def latency(n):
        return 800 * np.exp(0.8 * rng.standard_normal(n))

    few = of("latency_ms", latency(40), latency(60))
    assert few.verdict == "too_few_calls"
    assert few.detectable > few.floor
    base, candidate = few.calls_needed
    assert "to show 20 %, about" in few.sentence
    assert of("latency_ms", latency(2 * base), latency(2 * candidate)).verdict == "no_difference_shown"


def test_failed_calls_enter_no_latency():
    rng = np.random.default_rng(5)
    columns = {"latency_ms": 800 * np.exp(0.3 * rng.standard_normal(300)), "error": np.arange(300) % 10 == 0}
    base = observe("b", 300, columns)
    candidate = observe("c", 300, columns | {"latency_ms": np.where(columns["error"], 6e4, columns["latency_ms"])})
    latency = named(compare(base, candidate), "latency_ms")
    assert (latency.n_base, latency.verdict) == (270, "no_difference_shown")
    assert latency.effect == pytest.approx(0, abs=1e-9)


def test_more_errors_are_worse_and_named():
    shares = [np.arange(1000) < k for k in (10, 60)]
    types = [[{"error_type": "rate_limit" if bad else "none"} for bad in share] for share in shares]
    sides = [observe(p, 1000, {"error": s}, categories=t) for p, s, t in zip("bc", shares, types, strict=True)]
    # errors in one burst would be a few blocks' worth; here they are spread over all of them
    sides = [[msgspec.structs.replace(c, time=(i * 617) % 1000) for i, c in enumerate(side)] for side in sides]
    comparison = compare(*sides)
    error, kind = named(comparison, "error"), named(comparison, "error_type")
    assert (error.verdict, error.before, error.after) == ("worse", 0.01, 0.06)
    assert "error is 5 points higher" in error.sentence
    assert kind.verdict == "changed"
    assert {shift.value: shift.after for shift in kind.categories} == {"none": 0.94, "rate_limit": 0.06}


def test_one_burst_of_errors_is_less_evidence_than_errors_all_over():
    burst = of("error", np.zeros(400), np.arange(400) // 20 == 7)
    spread = of("error", np.zeros(400), np.arange(400) % 20 == 7)
    assert burst.effect == spread.effect == 0.05
    assert burst.p_value > 0.1
    assert (burst.verdict, spread.verdict) == ("too_few_calls", "worse")


def test_another_served_model_is_context_never_worse():
    sides = [
        observe(
            p,
            200,
            {"latency_ms": [500.0] * 200},
            categories=[{"model_served": m, "build": f"{p}{i}"} for i in range(200)],
        )
        for p, m in (("b", "m-1"), ("c", "m-2"))
    ]
    comparison = compare(*sides)
    served = named(comparison, "model_served")
    assert (served.verdict, served.channel, served.effect) == ("changed", "identity", 1.0)
    assert "m-1 100 % -> 0 %; m-2 0 % -> 100 %" in served.sentence
    assert (comparison.verdict, comparison.exit_code) == ("changed", 0)
    assert "build" not in [signal.name for signal in comparison.signals], "names calls, not versions"


def test_longer_answers_cost_more_but_not_at_equal_tokens():
    rng = np.random.default_rng(6)
    longer = compare(traffic(rng, 1500), traffic(rng, 1500, "c", longer=2.5))
    assert named(longer, "output_tokens").verdict == "changed"
    assert named(longer, "cost_usd").verdict == named(longer, "latency_ms").verdict == "worse"
    assert named(longer, "cost_given_tokens").verdict == "no_difference_shown"
    assert named(longer, "latency_given_tokens").verdict == "no_difference_shown"
    dearer = compare(traffic(rng, 1500), traffic(rng, 1500, "c", longer=2.5, dearer=1.5))
    assert named(dearer, "cost_given_tokens").effect == pytest.approx(0.5, abs=0.05)
    assert named(dearer, "cost_given_tokens").verdict == "worse"


def test_sizes_that_only_one_side_knows_are_not_compared():
    """A model that suddenly answers in three words is not slow because 400 words would have taken it hours."""
    rng = np.random.default_rng(24)
    sides = []
    for prefix, tokens in (("b", 400), ("c", 3)):
        outputs = np.round(tokens * np.exp(0.2 * rng.standard_normal(500)))
        sides.append(observe(prefix, 500, {"output_tokens": outputs, "latency_ms": 1500 + 10 * outputs}))
    comparison = compare(*sides)
    given = named(comparison, "latency_given_tokens")
    assert (given.verdict, given.n_base, given.n_candidate) == ("too_few_calls", 0, 0)
    assert given.sentence == "latency_given_tokens: no calls of like size on both sides."
    assert named(comparison, "latency_ms").verdict == "better"
    assert comparison.exit_code == 0


def test_scores_know_their_direction_and_their_kind():
    rng = np.random.default_rng(7)
    sides = []
    for prefix, shift in (("b", 0.0), ("c", 0.5)):
        values = (rng.standard_normal(600) + shift).tolist()
        scores = [
            {
                "judge": v,
                "judge.refusal": float(v > 1),
                "toxicity": v,
                "ok": "yes" if v > 0 else "no",
                "tone": "ab"[v > 0],
            }
            for v in values
        ]
        sides.append(observe(prefix, 600, {}, scores=scores))
    comparison = compare(*sides, CompareSettings(lower_is_better=("refusal", "toxicity")))
    verdicts = {s.name.removeprefix("score."): s.verdict for s in comparison.signals}
    assert verdicts == {
        "judge": "better",
        "judge.refusal": "worse",
        "toxicity": "worse",
        "ok": "better",
        "tone": "changed",
    }
    assert named(comparison, "score.judge.refusal").floor == 0.01
    assert named(comparison, "score.judge").floor == pytest.approx(0.2, abs=0.02)
    assert named(comparison, "score.judge").effect == pytest.approx(0.5, abs=0.15)


# Dependence, tails, pairs


def test_one_call_of_a_million_tokens_decides_nothing():
    rng = np.random.default_rng(8)
    base, candidate = (np.round(500 * np.exp(0.5 * rng.standard_normal(400))) for _ in range(2))
    plain = of("input_tokens", base, candidate)
    candidate[7] = 913_414
    assert plain.verdict == of("input_tokens", base, candidate).verdict == "no_difference_shown"
    assert of("input_tokens", base, candidate).effect == pytest.approx(plain.effect, abs=0.03)


def test_sessions_widen_the_interval():
    sides = []
    for seed, prefix in ((9, "b"), (10, "c")):
        rng = np.random.default_rng(seed)
        session = rng.permutation(np.repeat(np.arange(40), 10))
        latency = 800 * np.exp(0.5 * rng.standard_normal(40)[session] + 0.5 * rng.standard_normal(400))
        sides.append(observe(prefix, 400, {"latency_ms": latency}, session=[f"{prefix}{k}" for k in session]))
    unknown = [[msgspec.structs.replace(call, session=None) for call in side] for side in sides]
    wide, narrow = (named(compare(*pair), "latency_ms") for pair in (sides, unknown))
    assert wide.effect == narrow.effect
    # the design effect of ten calls whose correlation is a half is 5.5: its root, less what time blocks see by chance
    assert 1.7 < (wide.high - wide.low) / (narrow.high - narrow.low) < 2.5


def test_a_side_of_one_session_is_one_observation():
    rng = np.random.default_rng(11)
    base = observe("b", 400, {"latency_ms": 500 * np.exp(rng.standard_normal(400))}, session=["s"] * 400)
    candidate = observe("c", 400, {"latency_ms": 5000 * np.exp(rng.standard_normal(400))})
    comparison = compare(base, candidate)
    assert (comparison.verdict, comparison.exit_code) == ("too_few_calls", 3)
    assert "sessions" in named(comparison, "latency_ms").sentence


def repeated(rng, prefix, size, slower=1.0, per_input=2, known=True):
    """Each input a few times, sizes that differ by input alone."""
    inputs = rng.permutation(np.repeat(np.arange(len(size)), per_input))
    latency = 800 * slower * np.exp(size[inputs] + 0.15 * rng.standard_normal(len(inputs)))
    hashes = [f"h{i}" if known else None for i in inputs]
    return observe(prefix, len(inputs), {"latency_ms": latency}, input_hash=hashes)


def test_pairs_find_what_the_spread_between_inputs_hides():
    size = 2 * np.random.default_rng(12).standard_normal(80)
    found = []
    for known in (True, False):
        base = repeated(np.random.default_rng(13), "b", size, known=known)
        candidate = repeated(np.random.default_rng(14), "c", size, 1.4, 3, known=known)
        found.append(named(compare(base, candidate), "latency_ms"))
    paired, unpaired = found
    assert (paired.verdict, paired.paired, paired.pairs) == ("worse", True, 80)
    assert (unpaired.verdict, unpaired.paired) == ("too_few_calls", False)
    assert paired.effect == pytest.approx(0.4, abs=0.08)
    assert "80 pairs" in paired.sentence


def test_a_few_pairs_that_moved_among_many_that_did_not_are_no_want_of_calls():
    calls = np.zeros(400)
    hashes = [f"h{i}" for i in range(400)]
    base = observe("b", 400, {"tool_calls": calls}, input_hash=hashes)
    same = observe("c", 400, {"tool_calls": calls}, input_hash=hashes)
    moved = observe("c", 400, {"tool_calls": np.where(np.arange(400) % 150 == 7, 1.0, calls)}, input_hash=hashes)
    assert named(compare(base, same), "tool_calls").sentence == "tool_calls is the same in every pair."
    tools = named(compare(base, moved), "tool_calls")
    assert (tools.verdict, tools.paired) == ("no_difference_shown", True)
    assert tools.p_value > 0.05


@pytest.mark.parametrize(("common", "new", "paired"), [(50, 50, True), (49, 51, False), (20, 0, True), (19, 0, False)])
def test_pairs_are_used_where_there_are_enough_and_they_cover_half_of_the_smaller_side(common, new, paired):
    rng = np.random.default_rng(15)
    size = rng.standard_normal(200)
    base = repeated(rng, "b", size, per_input=1)
    candidate = repeated(rng, "c", size[:common], per_input=1)
    candidate += observe("x", new, {"latency_ms": 800 * np.exp(rng.standard_normal(new))})
    assert named(compare(base, candidate), "latency_ms").paired is paired


def test_pairs_of_few_sessions_are_left():
    rng = np.random.default_rng(16)
    size = rng.standard_normal(60)
    base, candidate = (repeated(rng, p, size, per_input=1) for p in "bc")
    of_sessions = [
        msgspec.structs.replace(call, session=f"s{k % (MIN_GROUPS - 1)}") for k, call in enumerate(candidate)
    ]
    assert named(compare(base, candidate), "latency_ms").paired
    assert not named(compare(base, of_sessions), "latency_ms").paired


def test_the_speed_of_a_pair_is_compared_at_equal_tokens():
    rng = np.random.default_rng(17)
    sides = []
    for prefix, longer, slower in (("b", 1.0, 1.0), ("c", 1.5, 1.3)):
        outputs = np.round(300 * np.exp(0.3 * rng.standard_normal(200)) * longer)
        columns = {
            "output_tokens": outputs,
            "latency_ms": 20 * outputs * slower * np.exp(0.1 * rng.standard_normal(200)),
        }
        sides.append(observe(prefix, 200, columns, input_hash=[f"h{i}" for i in range(200)]))
    comparison = compare(*sides)
    assert named(comparison, "latency_ms").effect == pytest.approx(0.95, abs=0.15)
    given = named(comparison, "latency_given_tokens")
    assert (given.paired, given.verdict) == (True, "worse")
    assert 100 < given.pairs < 200, "only sizes that both sides know"
    assert given.low < 0.3 < given.high
    assert given.high - given.low < 0.15


# How often it is wrong


def test_where_nothing_differs_at_most_one_comparison_in_twenty_says_so():
    wrong = 0
    draws = 200
    for seed in range(draws):
        rng = np.random.default_rng([20, seed])
        n = (60, 400)[seed % 2]
        wrong += bool(said(compare(traffic(rng, n), traffic(rng, 300, "c"))))
    assert wrong <= stats.binom.isf(0.01, draws, 0.05)


def test_where_nothing_differs_between_pairs_at_most_one_in_twenty_says_so():
    wrong = 0
    draws = 200
    for seed in range(draws):
        rng = np.random.default_rng([21, seed])
        share = rng.beta(1, 1, 60)
        sides = []
        for prefix, each in (("b", 3), ("c", 1)):
            inputs = rng.permutation(np.repeat(np.arange(60), each))
            n = len(inputs)
            passed = (rng.random(n) < share[inputs]).astype(float)
            columns = {
                "latency_ms": np.exp(3 * share[inputs] + 0.3 * rng.standard_t(4, n)),
                "error": rng.random(n) < 0.1,
            }
            scores = [
                {"passed": p, "judge": p + v} for p, v in zip(passed.tolist(), rng.random(n).tolist(), strict=True)
            ]
            sides.append(observe(prefix, n, columns, scores=scores, input_hash=[f"h{i}" for i in inputs]))
        comparison = compare(*sides)
        assert named(comparison, "score.passed").paired
        wrong += bool(said(comparison))
    assert wrong <= stats.binom.isf(0.01, draws, 0.05)


def test_a_latency_of_one_point_three_times_is_found_with_400_calls_a_side():
    found = 0
    for seed in range(40):
        rng = np.random.default_rng([22, seed])
        columns = [800 * factor * np.exp(0.8 * rng.standard_normal(400)) for factor in (1.0, 1.3)]
        found += of("latency_ms", *columns).verdict == "worse"
    assert found >= 32


# Whatever comes in


def all_kinds(prefix: str, n: int, value: float = 1.0) -> list[Observation]:
    columns = {name: [value] * n for name in NUMBERS} | {name: [False] * n for name in FLAGS}
    return observe(prefix, n, columns, scores=[{"s": value, "t": "x"}] * n, categories=[{"finish_reason": "stop"}] * n)


@pytest.mark.parametrize(
    ("base", "candidate"),
    [
        ([], []),
        (all_kinds("b", 400), []),
        ([], all_kinds("c", 400)),
        (all_kinds("b", 1), all_kinds("c", 1)),
        (all_kinds("b", 400), all_kinds("c", 1, 9.0)),
        (all_kinds("b", 3), all_kinds("c", 3, 9.0)),
        (observe("b", 300, {}), observe("c", 300, {})),
        (observe("b", 300, {"latency_ms": [1.0] * 300}), observe("c", 300, {"cost_usd": [1.0] * 300})),
    ],
    ids=["nothing", "no candidate", "no base", "one call", "one candidate", "three", "not measured", "disjoint"],
)
def test_what_cannot_be_measured_says_so(base, candidate):
    comparison = compare(base, candidate)
    assert (comparison.verdict, comparison.exit_code) == ("too_few_calls", 3)
    assert {signal.verdict for signal in comparison.signals} <= {"too_few_calls"}
    assert msgspec.json.decode(msgspec.json.encode(comparison), type=Comparison) == comparison
    for signal in comparison.signals:
        if not signal.n_base or not signal.n_candidate:
            assert "was measured on no call of the" in signal.sentence


def test_constant_values_are_alike_or_differ():
    alike = compare(all_kinds("b", 2000), all_kinds("c", 2000))
    assert {signal.verdict for signal in alike.signals} == {"no_difference_shown"}
    assert (alike.exit_code, alike.sentence) == (0, "No difference shown in any signal.")
    assert named(alike, "error").detectable < named(alike, "error").floor
    differ = compare(all_kinds("b", 400), all_kinds("c", 400, 2.0))
    assert named(differ, "latency_ms").verdict == "worse"
    assert named(differ, "latency_ms").effect == pytest.approx(0.5)
    assert named(differ, "score.s").verdict == "better"


def test_a_side_where_every_call_failed():
    columns = {"latency_ms": [500.0] * 300, "error": [True] * 300}
    comparison = compare(all_kinds("b", 300), observe("c", 300, columns))
    assert (comparison.verdict, comparison.exit_code) == ("worse", 1)
    assert named(comparison, "error").effect == 1.0
    assert named(comparison, "latency_ms").n_candidate == 0


def test_any_calls_give_a_result():
    values = [np.nan, np.inf, -1.0, 0.0, 1.0, 7.5, 3e38, 1e-30]
    for seed in range(300):
        rng = np.random.default_rng([23, seed])

        def side(prefix, rng=rng):
            n = int(rng.choice([0, 1, 2, 3, 8, 30]))
            kinds = [rng.choice(values, 2) for _ in NUMBERS]
            columns = {name: rng.choice(kind, n).astype("<f4") for name, kind in zip(NUMBERS, kinds, strict=True)}
            columns |= {name: rng.integers(-1, 2, n) for name in FLAGS}
            score = [1.0, 0.0, 1e308, -1e300, 5e-324, "yes", "no", "fine"][: int(rng.integers(1, 9))]
            return observe(
                prefix,
                n,
                columns,
                scores=[{"s": score[k]} for k in rng.integers(0, len(score), n)],
                categories=[{"x": str(k)} for k in rng.integers(0, 5, n)],
                input_hash=[f"h{k}" for k in rng.integers(0, 40, n)],
                session=[f"s{k}" if k else None for k in rng.integers(0, 9, n)],
            )

        comparison = compare(side("b"), side("c"), CompareSettings(min_pairs=2))
        assert msgspec.json.decode(msgspec.json.encode(comparison), type=Comparison) == comparison, seed
        assert comparison.exit_code in (0, 1, 3)
