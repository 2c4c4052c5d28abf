"""What an observation says of a call, and what it keeps to itself."""

import json
import math
import struct
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from leeboard.pipelines.ingest import records_in
from leeboard.pipelines.measure.measurer import MAX_ID_BYTES, MAX_SCORES, MAX_TOOLS, SCOPES_KEPT, Measurer
from leeboard.pipelines.measure.pricing import PRICE_SOURCE
from leeboard.pipelines.measure.settings import MeasureSettings
from leeboard.schemas import (
    FLAGS,
    GROUPS,
    MAX_LABEL_BYTES,
    MAX_LABELS,
    NUMBERS,
    ModelCall,
    decode_observation,
    encode_observation,
    scope_key,
)

NOON_MS = 1_748_779_200_123
NOT_MEASURED, NO, YES = 0, 1, 2


def call_with(**fields):
    return ModelCall(**({"id": "call-1", "time": NOON_MS, "app": "shop"} | fields))


def measure(measurer=None, **fields):
    return (measurer or Measurer(MeasureSettings())).measure(call_with(**fields))


def numbers_of(observation):
    values = struct.unpack(f"<{len(NUMBERS)}f", observation.numbers)
    return {name: value for name, value in zip(NUMBERS, values, strict=True) if not math.isnan(value)}


def flags_of(observation):
    return {name: observation.flags >> 2 * k & 3 for k, name in enumerate(FLAGS)}


def groups_of(observation):
    return {name for k, name in enumerate(GROUPS) if observation.measured >> k & 1}


FULL = {
    "input_tokens": 1000,
    "output_tokens": 200,
    "cached_tokens": 250,
    "reasoning_tokens": 50,
    "tools": ["search", "fetch"],
    "tool_calls": ["search", "search", "fetch"],
    "latency_ms": 1500.5,
    "ttft_ms": 300.0,
    "cost_usd": 0.25,
    "input_text": "How do I return shoes?",
    "output_text": "With the label in the box.",
    "finish_reason": "stop",
    "scores": {"helpful": 1.0},
}


# numbers


def test_numbers_are_packed_in_the_declared_order():
    numbers = numbers_of(measure(**FULL))
    assert tuple(numbers) == NUMBERS
    assert numbers == {
        "input_tokens": 1000,
        "output_tokens": 200,
        "reasoning_tokens": 50,
        "tool_calls": 3,
        "latency_ms": 1500.5,
        "ttft_ms": 300,
        "cost_usd": 0.25,
        "cached_share": 0.25,
        "relevance": numbers["relevance"],
        "repetition": 0.0,
    }


def test_a_bare_call_measures_no_number_and_no_group():
    observation = measure()
    assert numbers_of(observation) == {}
    assert groups_of(observation) == set()
    assert len(observation.numbers) == 4 * len(NUMBERS)


def test_a_failed_call_measures_its_input_and_its_error_only():
    observation = measure(**FULL, params={"response_format": "json"}, error_type="timeout")
    assert numbers_of(observation) == {"input_tokens": 1000}
    assert flags_of(observation) == dict.fromkeys(FLAGS, NOT_MEASURED) | {"error": YES, "coverage.vectors": YES}
    assert observation.input == measure(**FULL).input
    assert observation.output is None
    assert groups_of(observation) == set()
    assert observation.categories["error_type"] == "timeout"
    assert "finish_reason" not in observation.categories
    assert observation.tools == ()
    assert observation.cost_source is None


def test_an_answer_from_a_cache_has_no_latency_and_no_cost_but_carries_their_fields():
    observation = measure(**FULL, cached=True)
    assert numbers_of(observation).keys() == set(NUMBERS) - {"latency_ms", "ttft_ms", "cost_usd"}
    assert groups_of(observation) == set(GROUPS)
    assert observation.cost_source is None


@pytest.mark.parametrize(
    ("input_tokens", "cached_tokens", "share"),
    [(1000, 250, 0.25), (1000, 0, 0.0), (10, 40, 1.0), (0, 0, None), (None, 5, None), (10, None, None)],
)
def test_the_cached_share_needs_both_counts_and_is_at_most_one(input_tokens, cached_tokens, share):
    numbers = numbers_of(measure(input_tokens=input_tokens, cached_tokens=cached_tokens))
    assert numbers.get("cached_share") == share


@pytest.mark.parametrize(
    ("tools", "tool_calls", "count"),
    [
        (None, None, None),
        ([], None, None),
        (["search"], None, 0),
        (["search"], ["search", "search"], 2),
        (None, [], 0),
        (None, ["search"], 1),
    ],
)
def test_tool_calls_are_counted_where_tools_are_offered_or_reported(tools, tool_calls, count):
    assert numbers_of(measure(tools=tools, tool_calls=tool_calls)).get("tool_calls") == count


# flags and groups


@pytest.mark.parametrize("reason", ["length", "LENGTH", "max_tokens", "MAX_TOKENS", "FinishReason.MAX_TOKENS"])
def test_an_answer_that_was_cut_off_is_truncated(reason):
    assert flags_of(measure(finish_reason=reason))["truncated"] == YES


@pytest.mark.parametrize(("reason", "flag"), [("stop", NO), ("tool_calls", NO), (None, NOT_MEASURED)])
def test_an_answer_that_was_not_cut_off_is_not_truncated(reason, flag):
    assert flags_of(measure(finish_reason=reason))["truncated"] == flag


@pytest.mark.parametrize(
    ("fields", "flag"),
    [
        ({}, NOT_MEASURED),
        ({"output_text": "Yes."}, NO),
        ({"output_text": ""}, YES),
        ({"output_text": " \n\t\u3000"}, YES),
        ({"output_text": "", "tool_calls": ["search"]}, NO),
        ({"output_text": "", "output_tokens": 500}, YES),
        ({"output_text": "Yes.", "output_tokens": 0}, NO),
        ({"output_tokens": 0}, YES),
        ({"output_tokens": 0, "tool_calls": ["search"]}, NO),
        ({"output_tokens": 7}, NO),
    ],
)
def test_an_answer_without_text_and_without_tool_calls_is_empty(fields, flag):
    assert flags_of(measure(**fields))["empty"] == flag


def test_the_error_flag_is_always_measured():
    assert flags_of(measure())["error"] == NO
    assert flags_of(measure(error_type=""))["error"] == YES


@pytest.mark.parametrize(
    ("fields", "groups"),
    [
        ({"input_tokens": 1, "output_tokens": 1}, {"tokens"}),
        ({"input_tokens": 1}, set()),
        ({"cost_usd": 0.0}, {"cost"}),
        ({"latency_ms": 0.0}, {"latency"}),
        ({"ttft_ms": 1.0}, set()),
        ({"input_text": ""}, {"input_text"}),
        ({"output_text": "x"}, {"output_text"}),
        ({"scores": {"a": 1.0}}, {"scores"}),
        ({"scores": {}}, set()),
    ],
)
def test_a_group_is_measured_where_the_call_carried_it(fields, groups):
    assert groups_of(measure(**fields)) == groups


# cost


def test_a_cost_that_the_call_brings_is_taken_as_it_is():
    observation = measure(cost_usd=0.5, provider="openai", model_served="gpt-4o", input_tokens=10, output_tokens=10)
    assert numbers_of(observation)["cost_usd"] == 0.5
    assert observation.cost_source == "call"


def test_a_call_without_cost_is_priced_by_the_model_that_served_it():
    tokens = {"input_tokens": 1_000_000, "output_tokens": 0}
    served = measure(provider="openai", model_requested="gpt-4o", model_served="gpt-4o-mini", **tokens)
    requested = measure(provider="openai", model_requested="gpt-4o-mini", **tokens)
    other = measure(provider="openai", model_requested="gpt-4o", **tokens)
    assert served.cost_source == PRICE_SOURCE
    assert "cost" in groups_of(served)
    assert numbers_of(served) == numbers_of(requested)
    assert numbers_of(served)["cost_usd"] < numbers_of(other)["cost_usd"]


@pytest.mark.parametrize(
    ("settings_", "fields"),
    [
        (MeasureSettings(price=False), {"model_served": "gpt-4o", "input_tokens": 10, "output_tokens": 10}),
        (MeasureSettings(), {"model_served": "my-own-model", "input_tokens": 10, "output_tokens": 10}),
        (MeasureSettings(), {"model_served": "gpt-4o", "input_tokens": 10}),
        (MeasureSettings(), {"input_tokens": 10, "output_tokens": 10}),
    ],
)
def test_a_cost_that_cannot_be_told_is_not_measured(settings_, fields):
    observation = measure(Measurer(settings_), **fields)
    assert "cost_usd" not in numbers_of(observation)
    assert "cost" not in groups_of(observation)
    assert observation.cost_source is None


# scope, categories, labels


def test_the_tenant_is_a_label_unless_it_is_part_of_the_scope():
    fields = {"tenant": "acme", "env": "prod", "route": "a/b", "labels": {"region": "eu"}}
    label = measure(**fields)
    scope = measure(Measurer(MeasureSettings(tenant_in_scope=True)), **fields)
    assert (label.scope, label.labels) == (scope_key(None, "shop", "prod", "a/b"), {"region": "eu", "tenant": "acme"})
    assert (scope.scope, scope.labels) == (scope_key("acme", "shop", "prod", "a/b"), {"region": "eu"})


def test_the_route_is_the_prompt_name_where_there_is_none():
    assert measure(prompt_name="greet").scope == scope_key(None, "shop", "default", "greet")
    assert measure().scope == scope_key(None, "shop", "default", "default")


def test_time_position_and_trace_are_carried_over():
    call = call_with(time=datetime.fromtimestamp(NOON_MS / 1000, UTC), trace_id="t", span_id="s")
    observation = Measurer(MeasureSettings()).measure(call, received_ms=NOON_MS + 5, source=("topic", 1, 2, 3))
    assert observation.time == NOON_MS
    assert observation.received == NOON_MS + 5
    assert observation.source == ("topic", 1, 2, 3)
    assert (observation.trace_id, observation.span_id) == ("t", "s")


def test_categories_hold_what_the_call_says_of_itself():
    identity = {
        "provider": "openai",
        "model_requested": "gpt-4o",
        "model_served": "gpt-4o-2024-08-06",
        "system_fingerprint": "fp_1",
        "prompt_version": "7",
        "app_version": "1.2",
        "finish_reason": "stop",
    }
    observation = measure(**identity, sample_rate=0.25)
    assert observation.categories == identity | {"error_type": "none", "sample_rate": "0.25"}


def test_absent_and_empty_texts_are_no_category():
    assert measure(provider="", finish_reason="").categories == {"error_type": "none"}


def test_values_are_cut_to_128_bytes_between_characters_and_lose_their_control_characters():
    categories = measure(provider="ü" * 100, model_served="gpt\n4\x1b[31m\u202eo", app_version="v" * 129).categories
    assert categories["provider"] == "ü" * (MAX_LABEL_BYTES // 2)
    assert categories["model_served"] == "gpt\ufffd4\ufffd[31m\ufffdo"
    assert categories["app_version"] == "v" * MAX_LABEL_BYTES
    labels = measure(labels={"k" * 127 + "ü": "v" * 127 + "ü"}).labels
    assert labels == {"k" * 127: "v" * 127}


def test_labels_scores_and_tools_beyond_their_limits_are_left_out_in_a_fixed_order():
    names = [f"n{number:04}" for number in range(100)]
    observation = measure(
        labels=dict.fromkeys(reversed(names), "x"),
        tenant="acme",
        scores=dict.fromkeys(reversed(names), 1.0),
        tool_calls=names,
    )
    assert list(observation.labels) == [*names[:MAX_LABELS], "tenant"]
    assert list(observation.scores) == names[:MAX_SCORES]
    assert list(observation.tools) == names[:MAX_TOOLS]
    assert numbers_of(observation)["tool_calls"] == 100


def test_scores_that_are_no_numbers_are_left_out():
    observation = measure(scores={"a": math.inf, "b": math.nan, "c": 0.5, "d": "good\n"})
    assert observation.scores == {"c": 0.5, "d": "good\ufffd"}


def test_a_long_id_is_cut_but_hashed_whole():
    first, second = measure(id="x" * 300 + "1"), measure(id="x" * 300 + "2")
    assert first.id == second.id == "x" * MAX_ID_BYTES
    assert first.id_hash != second.id_hash


def test_the_redactor_sees_labels_tenant_and_error_type_before_the_cut():
    secret = "a" * 125 + "secret"
    measurer = Measurer(MeasureSettings(), redact=lambda text: text.replace("secret", "***"))
    observation = measure(measurer, labels={"l": secret}, tenant=secret, error_type=secret)
    expected = "a" * 125 + "***"
    assert observation.labels == {"l": expected, "tenant": expected}
    assert observation.categories["error_type"] == expected


def test_the_memory_for_scope_keys_is_bounded():
    measurer = Measurer(MeasureSettings())
    for number in range(SCOPES_KEPT + 10):
        measure(measurer, route=str(number))
    assert measurer._scope_key.cache_info().currsize == SCOPES_KEPT


# any call

TEXTS = (
    *("env", "route", "tenant", "system_fingerprint", "prompt_version", "app_version"),
    *("system_text", "input_text", "output_text", "finish_reason", "error_type"),
    *("session", "user", "trace_id", "span_id"),
)
words = st.text(st.characters(), max_size=200)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=10,
)
counts = st.integers(0, 10**15) | st.integers(0, 10)
amounts = st.floats(0, 1e15)
names = st.text(st.characters(), min_size=1, max_size=50)
models = st.sampled_from(["gpt-4o", "claude-sonnet-4-5", "deepseek-chat", "/"]) | words
calls = st.fixed_dictionaries(
    {
        "schema": st.just("model_call/1"),
        "id": names,
        "time": st.integers(0, 253_402_300_799_999) | st.just("2025-06-01T12:00:00.5+05:30"),
        "app": names,
    },
    optional={
        **dict.fromkeys(TEXTS, words),
        "provider": st.sampled_from(["openai", "anthropic", "deepseek", "litellm"]) | words,
        "model_requested": models,
        "model_served": models,
        "tools": st.lists(words, max_size=3),
        "tool_calls": st.lists(words, max_size=3),
        "params": st.dictionaries(words, values, max_size=4),
        **dict.fromkeys(("input_tokens", "output_tokens", "cached_tokens", "reasoning_tokens"), counts),
        **dict.fromkeys(("cost_usd", "latency_ms", "ttft_ms"), amounts),
        "cached": st.booleans(),
        "labels": st.dictionaries(words, words, max_size=20),
        "scores": st.dictionaries(words, st.floats(allow_nan=False, allow_infinity=False) | words, max_size=20),
        "sample_rate": st.floats(0, 1, exclude_min=True),
    },
)


@settings(max_examples=400)
@given(calls)
def test_any_call_that_can_be_decoded_can_be_measured(fields):
    [call] = records_in(json.dumps(fields).encode())
    if not isinstance(call, ModelCall):
        return
    observation = Measurer(MeasureSettings(key="k"), redact=str.upper).measure(call)
    assert decode_observation(encode_observation(observation)) == observation
    assert not any(math.isinf(value) for value in numbers_of(observation).values())
    assert ("cost_usd" in numbers_of(observation)) == (observation.cost_source is not None)
    for text in (*observation.categories.values(), *observation.labels.values(), *observation.tools):
        assert len(text.encode()) <= MAX_LABEL_BYTES
        assert not any(character in text for character in "\n\r\x00\x1b\x7f")
