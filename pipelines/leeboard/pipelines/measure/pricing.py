"""What a call cost, from the price table inside the installed genai-prices; the network is never asked.

genai-prices computes with decimals, some 50 microseconds a call. All its prices of tokens are linear between tiers, so
a model's prices are read off once, by asking `ModelPrice.calc_price` for usages that differ by one token, and a call
then costs a few multiplications.
"""

from datetime import UTC, datetime
from decimal import Decimal
from functools import lru_cache

import genai_prices
from genai_prices.data import providers
from genai_prices.data_snapshot import DataSnapshot
from genai_prices.types import ModelInfo, ModelPrice, TieredPrices, Usage
from msgspec import Struct

#: what `cost_source` of an observation says for these prices
PRICE_SOURCE = f"genai-prices {genai_prices.__version__}"
#: (provider, model) pairs kept resolved, least recently used out first: 1,024 x about 2 KB = 2 MB
MODELS_KEPT = 1024
#: a longer name of a provider or model is in no price table; keeps what MODELS_KEPT remembers small
MAX_NAME_CHARS = 128


class _Band(Struct, frozen=True):
    """Prices in USD while a call has more than `above_tokens` input tokens, and not enough for the next band."""

    above_tokens: int
    request_usd: float
    input_token_usd: float
    cached_token_usd: float
    output_token_usd: float


class _Tariff(Struct, frozen=True):
    """A model, and the bands (highest first) of each of its price sets, by identity of the set."""

    model: ModelInfo
    bands: dict[int, tuple[_Band, ...]]


def price_usd(
    provider: str | None,
    model: str,
    time_ms: int,
    *,
    input_tokens: int | None,
    output_tokens: int | None,
    cached_tokens: int | None,
) -> float | None:
    """Price of a call in USD at `time_ms` (epoch milliseconds), or None where it cannot be told.

    `cached_tokens` are those of `input_tokens` that were read from the provider's cache. Reasoning tokens are part of
    `output_tokens` and cost the same here. None: provider or model not in the table, no price by tokens, token counts
    missing, or more cached than input tokens. Output tokens may be missing where they are free (embeddings).
    """
    if input_tokens is None:
        return None
    cached = cached_tokens or 0
    if cached > input_tokens or len(model) > MAX_NAME_CHARS or len(provider or "") > MAX_NAME_CHARS:
        return None
    tariff = _tariff(provider, model)
    if tariff is None:
        return None
    price = tariff.model.get_prices(datetime.fromtimestamp(time_ms / 1000, UTC))
    for band in tariff.bands[id(price)]:
        if input_tokens > band.above_tokens:
            break
    else:
        return None
    if output_tokens is None and band.output_token_usd > 0:
        return None
    return (
        band.request_usd
        + band.input_token_usd * (input_tokens - cached)
        + band.cached_token_usd * cached
        + band.output_token_usd * (output_tokens or 0)
    )


@lru_cache(maxsize=MODELS_KEPT)
def _tariff(provider: str | None, model: str) -> _Tariff | None:
    """Look a model up; None where the table does not know it."""
    # a snapshot of our own: the shared one may have been replaced by a network update, and remembers every unknown
    # name for ever; its timestamp is not used
    table = DataSnapshot(providers=providers, from_auto_update=False, timestamp=datetime.fromtimestamp(0, UTC))
    try:
        _, info = table.find_provider_model(model, None, provider, None)
    except LookupError:
        return None
    prices = [info.prices] if isinstance(info.prices, ModelPrice) else [item.prices for item in info.prices]
    return _Tariff(info, {id(price): _bands(price) for price in prices})


def _bands(price: ModelPrice) -> tuple[_Band, ...]:
    """Bands of one price set, highest first; none where it does not price tokens or the library refuses it."""
    if price.input_mtok is None and price.output_mtok is None:
        return ()
    tiered = [value for value in vars(price).values() if isinstance(value, TieredPrices)]
    starts = {tier.start for value in tiered for tier in value.tiers}
    try:
        return tuple(_band(price, start) for start in sorted({-1, *starts}, reverse=True))
    except ValueError:
        return ()


def _band(price: ModelPrice, above_tokens: int) -> _Band:
    """Prices of the band that starts after `above_tokens`; it holds at least two counts of tokens."""

    def usd(input_tokens: int, cached_tokens: int, output_tokens: int) -> Decimal:
        usage = Usage(input_tokens=input_tokens, cache_read_tokens=cached_tokens, output_tokens=output_tokens)
        return price.calc_price(usage)["total_price"]

    first = above_tokens + 1
    start = usd(first, 0, 0)
    one_more = usd(first + 1, 0, 0)
    token = one_more - start
    return _Band(
        above_tokens=above_tokens,
        request_usd=float(start - first * token),
        input_token_usd=float(token),
        cached_token_usd=float(usd(first + 1, 1, 0) - one_more + token),
        output_token_usd=float(usd(first, 0, 1) - start),
    )
