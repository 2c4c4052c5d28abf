"""Prices read off once a model are the prices that genai-prices computes a call."""

from datetime import UTC, datetime
from decimal import Decimal

import pytest
from genai_prices import Usage, calc_price
from genai_prices.data import providers
from genai_prices.types import ModelPrice, TieredPrices
from leeboard.pipelines.measure.pricing import MAX_NAME_CHARS, MODELS_KEPT, PRICE_SOURCE, _bands, _tariff, price_usd

JUNE_2025 = 1_748_779_200_000
NOVEMBER_2026 = 1_795_435_200_000
#: no tokens, ordinary calls, and both sides of every tier of the table
INPUT_TOKENS = (0, 1, 1_234, 32_000, 32_001, 128_001, 200_000, 200_001, 272_001, 600_000)


def library_usd(provider, model, time_ms, input_tokens, output_tokens, cached_tokens):
    usage = Usage(input_tokens=input_tokens, output_tokens=output_tokens, cache_read_tokens=cached_tokens)
    when = datetime.fromtimestamp(time_ms / 1000, UTC)
    return float(calc_price(usage, model, provider_id=provider, genai_request_timestamp=when).total_price)


def our_usd(provider, model, time_ms, input_tokens, output_tokens, cached_tokens=None):
    return price_usd(
        provider,
        model,
        time_ms,
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        cached_tokens=cached_tokens,
    )


@pytest.mark.parametrize(
    ("provider", "model"),
    [
        ("openai", "gpt-4o"),
        ("openai", "gpt-4o-2024-08-06"),
        (None, "gpt-4o-mini"),
        ("anthropic", "claude-sonnet-4-5"),
        ("google", "gemini-2.5-pro"),
        ("gcp.gemini", "gemini-2.5-flash"),
        ("azure", "gpt-4.1"),
        ("deepseek", "deepseek-chat"),
        ("groq", "llama-3.3-70b-versatile"),
        ("litellm", "openai/gpt-4o"),
    ],
)
@pytest.mark.parametrize("time_ms", [JUNE_2025, NOVEMBER_2026])
def test_a_known_model_costs_what_the_library_says(provider, model, time_ms):
    for input_tokens in INPUT_TOKENS:
        for cached_tokens in {0, input_tokens // 3, input_tokens}:
            tokens = (input_tokens, 777, cached_tokens)
            expected = library_usd(provider, model, time_ms, *tokens)
            assert our_usd(provider, model, time_ms, *tokens) == pytest.approx(expected, rel=1e-12, abs=1e-18)


def test_every_model_of_the_table_that_prices_tokens_costs_what_the_library_says():
    compared = 0
    for provider in providers:
        for model in provider.models:
            for tokens in ((1_234, 321, 1_000), (300_001, 5, 0)):
                ours = our_usd(provider.id, model.id, NOVEMBER_2026, *tokens)
                if ours is None:
                    continue
                expected = library_usd(provider.id, model.id, NOVEMBER_2026, *tokens)
                assert ours == pytest.approx(expected, rel=1e-12), (provider.id, model.id)
                compared += 1
    assert compared > 3_000


def test_a_tier_prices_all_tokens_of_a_call_that_crosses_it():
    below = our_usd("google", "gemini-2.5-pro", JUNE_2025, 200_000, 0)
    above = our_usd("google", "gemini-2.5-pro", JUNE_2025, 200_001, 0)
    assert above > 1.5 * below


def test_the_price_is_that_of_the_time_of_the_call():
    night = JUNE_2025 + 5 * 3600 * 1000
    prices = []
    for time_ms in (JUNE_2025, night):
        prices.append(our_usd("deepseek", "deepseek-chat", time_ms, 1_000, 1_000))
        expected = library_usd("deepseek", "deepseek-chat", time_ms, 1_000, 1_000, 0)
        assert prices[-1] == pytest.approx(expected, rel=1e-12)
    assert prices[0] != pytest.approx(prices[1])


def test_cached_tokens_are_cheaper_and_absent_ones_count_as_none():
    plain = our_usd("openai", "gpt-4o", JUNE_2025, 1_000, 10, None)
    assert plain == our_usd("openai", "gpt-4o", JUNE_2025, 1_000, 10, 0)
    assert our_usd("openai", "gpt-4o", JUNE_2025, 1_000, 10, 900) < plain


@pytest.mark.parametrize(
    ("provider", "model", "tokens"),
    [
        ("openai", "no-such-model", (10, 10, 0)),
        ("no-such-provider", "gpt-4o", (10, 10, 0)),
        (None, "no-such-model", (10, 10, 0)),
        ("openai", "gpt-4o", (None, 10, 0)),
        ("openai", "gpt-4o", (10, None, 0)),
        ("openai", "gpt-4o", (10, 10, 11)),
        ("openai", "whisper-1", (10, 10, 0)),
        ("openai", "gpt-4o" + "x" * MAX_NAME_CHARS, (10, 10, 0)),
        ("openai" + "x" * MAX_NAME_CHARS, "gpt-4o", (10, 10, 0)),
        ("", "gpt-4o", (10, 10, 0)),
    ],
)
def test_what_cannot_be_priced_has_no_price_instead_of_a_free_one(provider, model, tokens):
    assert our_usd(provider, model, JUNE_2025, *tokens) is None


def test_embeddings_are_priced_without_output_tokens():
    usd = our_usd("openai", "text-embedding-3-small", JUNE_2025, 1_000_000, None)
    assert usd == pytest.approx(library_usd("openai", "text-embedding-3-small", JUNE_2025, 1_000_000, 0, 0))
    assert usd > 0


def test_a_price_of_every_request_and_tiers_of_different_units_are_read_off():
    price = ModelPrice(
        input_mtok=TieredPrices(base=Decimal(2), tiers=[]),
        output_mtok=TieredPrices(base=Decimal(10), tiers=[]),
        requests_kcount=Decimal(5),
    )
    (band,) = _bands(price)
    assert band.request_usd == 0.005
    assert band.input_token_usd == band.cached_token_usd == 2e-6
    assert band.output_token_usd == 1e-5


def test_a_price_that_the_library_refuses_is_no_price():
    assert _bands(ModelPrice(input_mtok=Decimal(-1))) == ()


def test_the_memory_for_models_is_bounded():
    for number in range(MODELS_KEPT + 100):
        our_usd("openai", f"no-such-model-{number}", JUNE_2025, 1, 1)
    assert _tariff.cache_info().currsize == MODELS_KEPT
    _tariff.cache_clear()


def test_the_source_names_the_version_of_the_table():
    name, version = PRICE_SOURCE.split(" ")
    assert name == "genai-prices"
    assert version[0].isdigit()
