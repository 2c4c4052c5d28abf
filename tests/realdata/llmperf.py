"""llmperf_2023_12: 150 calls of one model at each of eight providers; a switch of provider joins two of them."""

from typing import Any

from leeboard.schemas import ModelCall

from .folder import document
from .stream import SPACING_MS, Split, Stream, View, Window

PROVIDERS = ("anyscale", "bedrock", "fireworks", "groq", "lepton", "perplexity", "replicate", "together")
SWITCHES = (
    ("anyscale", "together"),
    ("together", "replicate"),
    ("fireworks", "perplexity"),
    ("bedrock", "groq"),
    ("anyscale", "groq"),
    ("perplexity", "fireworks"),
    ("fireworks", "lepton"),
    ("together", "anyscale"),
    ("groq", "bedrock"),
    ("perplexity", "bedrock"),
    ("groq", "anyscale"),
    ("replicate", "together"),
)
#: 2023-12-18 00:00 UTC; the data have no times
START_MS = 1_702_857_600_000
#: all calls but the first ten are refused
LEPTON_LIMIT = Window("rate limit", 10, 150)
_ERRORS = {429: "rate_limit", -100: "too_few_tokens"}
#: (before, after, field of ModelCall) of the prototype's views, with their last name and split
_VIEWED: dict[tuple[str, str, str], tuple[str, Split]] = {
    ("anyscale", "together", "ttft_ms"): ("ttft", "dev"),
    ("anyscale", "together", "latency_ms"): ("end_", "test"),
    ("together", "replicate", "ttft_ms"): ("ttft", "test"),
    ("fireworks", "perplexity", "latency_ms"): ("end_", "dev"),
    ("bedrock", "groq", "latency_ms"): ("end_", "test"),
}


def provider(name: str) -> Stream:
    """The calls of one provider."""
    changes = (LEPTON_LIMIT,) if name == "lepton" else ()
    return Stream(f"llmperf.{name}", _calls((name,), blind=False), changes)


def switch(before: str, after: str, *, blind: bool = False) -> Stream:
    """The calls of `before`, then those of `after`, as one scope; `blind` leaves the provider out."""
    first, second = (len(_document(name)) for name in (before, after))
    change = Window("switch", first, first + second)
    views = tuple(
        View(f"lp.{before}-{after}.{short}", source, split, (change,), scale=1e-3)
        for (one, other, source), (short, split) in _VIEWED.items()
        if (one, other) == (before, after)
    )
    name = f"llmperf.{before}-{after}{'.blind' if blind else ''}"
    return Stream(name, _calls((before, after), blind=blind), (change,), views=views)


def _document(name: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = document(f"llmperf_2023_12/{name}_70b.json.gz")
    return rows


def _calls(names: tuple[str, ...], *, blind: bool) -> list[ModelCall]:
    rows = [(name, number, row) for name in names for number, row in enumerate(_document(name))]
    return [
        _call(name, number, row, START_MS + k * SPACING_MS, blind=blind) for k, (name, number, row) in enumerate(rows)
    ]


def _call(name: str, number: int, row: dict[str, Any], time_ms: int, *, blind: bool) -> ModelCall:
    common: dict[str, Any] = {
        "id": f"llmperf-{name}-{number:03d}",
        "time": time_ms,
        "app": "llmperf",
        "route": "complete",
        "provider": None if blind else name,
        "model_requested": "llama-2-70b-chat",
    }
    if row["error_code"]:
        return ModelCall(**common, error_type=_ERRORS[row["error_code"]])
    return ModelCall(
        **common,
        model_served="llama-2-70b-chat",
        input_tokens=row["number_input_tokens"],
        output_tokens=row["number_output_tokens"],
        ttft_ms=row["ttft_s"] * 1000,
        latency_ms=row["end_to_end_latency_s"] * 1000,
    )
