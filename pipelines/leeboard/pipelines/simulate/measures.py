"""The numbers of a block of calls: sizes, outcome, speed, cost.

Everything random is drawn first, always the same amount (`draw`); what a cause does comes after (`compose`). So a
world with a cause and the same world without share every draw.
"""

from dataclasses import dataclass

import numpy as np

from ..arrays import BoolArray, FloatArray, IntArray
from .apps import App, RequestKind
from .effects import Effects
from .traffic import Arrivals, intensity, shares_of

#: questions that a scope's users ask again and again
REPEATS = 40
#: share of the calls whose size, answer or speed comes from a Pareto tail, its exponent and largest factor
INPUT_TAIL = (0.02, 1.5, 40.0)
OUTPUT_TAIL = (0.01, 2.0, 8.0)
LATENCY_TAIL = (0.008, 1.3, 30.0)
#: providers cache prefixes in chunks of so many tokens
CACHE_CHUNK = 64
#: no client waits longer
LONGEST_MS = 600_000.0
#: a small burst of errors: shortest and longest length in calls, share that fails (1.6 calls in all), and the part of
#: all errors that comes in bursts. Ten times the usual rate for forty calls: visible in the log, no reason for a page
BURST_CALLS = (20, 60)
BURST_ERRORS = 0.04
BURST_PART = 0.3
#: error type -> share, shortest and longest time until the caller knows, ms; the last one is an outage's
ERRORS = {
    "timeout": (0.35, 60_000, 60_500),
    "rate_limit": (0.30, 60, 250),
    "server_error": (0.25, 200, 3_000),
    "connection": (0.10, 5, 50),
    "overloaded": (0.0, 300, 5_000),
}
OVERLOADED = len(ERRORS) - 1
#: time that a response cache takes
CACHE_HIT_MS = 6.0
#: a cached input token costs this part of a new one
CACHED_PRICE = 0.1

NORMALS = ("input", "output", "reasoning", "ttft", "speed", "score")
UNIFORMS = (
    "kind",
    "newcomer",
    "repeat",
    "repeated",
    "cached",
    "prompt_cache",
    "tool",
    "tool_name",
    "fingerprint",
    "score",
    "burst",
    "burst_length",
    "input_tail",
    "input_size",
    "output_tail",
    "output_size",
    "latency_tail",
    "latency_size",
    "error",
    "error_type",
    "error_time",
)
#: slowly varying levels: input sizes, output sizes, time to the first token, time per token
VARYING_LEVELS = 4


@dataclass(slots=True)
class Draws:
    """All randomness of a block; one value a call."""

    z: dict[str, FloatArray]
    u: dict[str, FloatArray]
    #: keys of the texts of request and answer
    text: IntArray
    answer: IntArray
    #: 24 bytes a call, hex: trace and span id
    ids: str
    #: is it one of the stored questions?
    repeated: BoolArray


@dataclass(frozen=True, slots=True)
class StoredQuestions:
    """The questions of a scope that are asked again: their kind (uniform), size (normal) and text."""

    kind: FloatArray
    size: FloatArray
    text: IntArray


def stored_questions(rng: np.random.Generator) -> StoredQuestions:
    """Draw REPEATS questions."""
    return StoredQuestions(rng.random(REPEATS), rng.standard_normal(REPEATS), rng.integers(0, 2**62, REPEATS))


def draw(app: App, rng: np.random.Generator, stored: StoredQuestions, n: int) -> Draws:
    """Draw everything random about n calls."""
    z = dict(zip(NORMALS, rng.standard_normal((len(NORMALS), n)), strict=True))
    u = dict(zip(UNIFORMS, rng.random((len(UNIFORMS), n)), strict=True))
    text = rng.integers(0, 2**62, n)
    again = u["repeat"] < app.repeat_rate
    which = (u["repeated"] * REPEATS).astype(np.int64)
    z["input"] = np.where(again, stored.size[which], z["input"])
    u["kind"] = np.where(again, stored.kind[which], u["kind"])
    u["input_tail"] = np.where(again, 1.0, u["input_tail"])
    asked = np.where(again, stored.text[which], text)
    return Draws(z=z, u=u, text=asked, answer=text, ids=rng.bytes(24 * n).hex(), repeated=again)


@dataclass(slots=True)
class Measures:
    """What a block of calls measured; one value a call. Failed calls have numbers here that they do not report."""

    kind: IntArray
    kinds: list[RequestKind]
    #: tokens of the request's own text: without system text and history; the same for a question asked again
    asked: IntArray
    input: IntArray
    output: IntArray
    reasoning: IntArray
    cached_tokens: IntArray
    truncated: BoolArray
    #: index into ERRORS, -1 is success
    error: IntArray
    cached: BoolArray
    latency_ms: FloatArray
    ttft_ms: FloatArray


def compose(
    app: App, draws: Draws, calls: Arrivals, levels: FloatArray, effects: Effects, in_burst: BoolArray
) -> Measures:
    """Give the numbers of `calls` under `effects`; `levels` as of `SlowVariation.at`, `in_burst` as of `bursts`."""
    kinds = [*app.kinds, *effects.newcomers]
    kind = np.searchsorted(shares_of({one.name: one.share for one in app.kinds}), draws.u["kind"], side="right")
    new = draws.u["newcomer"] < effects.newcomer_share
    kind[new] = len(app.kinds) + effects.newcomer[new]
    error = _errors(app, draws, effects, in_burst)
    cached = draws.repeated & (draws.u["cached"] < app.cached_rate) & (error < 0) & (effects.freak == 0)

    median = np.array([one.input_tokens for one in kinds])[kind]
    sd = np.array([one.input_sd for one in kinds])[kind]
    exponent = sd * draws.z["input"] + app.session_sd * calls.session_z + app.slow_tokens_sd * levels[0]
    body = median * np.exp(exponent) * _tail(draws, "input", INPUT_TAIL)
    system = np.array([one.tokens for one in effects.prompts])[effects.prompt]
    prefix = system + body * app.history * calls.turn
    tokens_in = np.clip(np.rint(prefix + body), 1, app.context_tokens)
    tokens_in = np.where(effects.freak, effects.freak, tokens_in).astype(np.int64)
    hit = draws.u["prompt_cache"] < app.prompt_cache_rate * effects.prompt_cache
    held = np.where(hit, np.minimum(prefix, tokens_in) // CACHE_CHUNK * CACHE_CHUNK, 0).astype(np.int64)

    tokens_out, reasoning, truncated = _answers(app, draws, kinds, kind, body / median, levels[1], effects)
    latency, ttft = _speeds(app, draws, calls, tokens_in - held, tokens_out, levels, effects)
    quick = CACHE_HIT_MS * np.exp(0.4 * draws.z["ttft"])
    return Measures(
        kind=kind,
        kinds=kinds,
        asked=np.rint(np.where(draws.repeated, median * np.exp(sd * draws.z["input"]), body)).astype(np.int64),
        input=tokens_in,
        output=tokens_out,
        reasoning=reasoning,
        cached_tokens=held,
        truncated=truncated,
        error=error,
        cached=cached,
        latency_ms=np.where(error >= 0, _time_to_error(draws, error), np.where(cached, quick, latency)).round(1),
        ttft_ms=np.where(cached, quick, ttft).round(1),
    )


def bursts(app: App, draws: Draws, left: int) -> tuple[BoolArray, int]:
    """Find the calls in a small burst of errors; `left` and the second value: its calls that are still to come.

    Bursts bring BURST_PART of the errors of `App.error_rate`.
    """
    n = draws.u["burst"].size
    shortest, longest = BURST_CALLS
    rate = BURST_PART * app.error_rate / (BURST_ERRORS * (shortest + longest) / 2)
    inside = np.zeros(n, bool)
    inside[:left] = True
    left = max(left - n, 0)
    for start in np.flatnonzero(draws.u["burst"] < rate):
        length = shortest + int(draws.u["burst_length"][start] * (longest - shortest + 1))
        inside[start : start + length] = True
        left = max(left, int(start) + length - n)
    return inside, left


def cost_usd(app: App, measures: Measures, effects: Effects) -> FloatArray | None:
    """Price the calls as the application does, USD; None where it leaves that to the price table."""
    if app.usd_per_million is None:
        return None
    price_in, price_out = app.usd_per_million
    uncached = measures.input - measures.cached_tokens * (1 - CACHED_PRICE)
    cost = (uncached * price_in + measures.output * price_out) / 1e6 * effects.cost
    return np.where(measures.cached, 0.0, cost).round(9)


def _tail(draws: Draws, name: str, tail: tuple[float, float, float]) -> FloatArray:
    """Give 1 for most calls, a Pareto factor for the few of the tail."""
    share, exponent, largest = tail
    factor = np.minimum((1 - draws.u[name + "_size"]) ** (-1 / exponent), largest)
    return np.where(draws.u[name + "_tail"] < share, factor, 1.0)


def _answers(
    app: App,
    draws: Draws,
    kinds: list[RequestKind],
    kind: IntArray,
    relative: FloatArray,
    level: FloatArray,
    effects: Effects,
) -> tuple[IntArray, IntArray, BoolArray]:
    """Give output tokens, reasoning tokens among them, whether `max_tokens` cut; `relative`: input / median."""
    median = np.array([one.output_tokens for one in kinds])[kind]
    sd = np.array([one.output_sd for one in kinds])[kind]
    follows = np.array([one.follows for one in kinds])[kind]
    exponent = follows * np.log(relative) + sd * draws.z["output"] + app.slow_tokens_sd * level
    answer = median * np.exp(exponent) * _tail(draws, "output", OUTPUT_TAIL) * effects.output
    thought = app.reasoning_tokens * np.exp(0.7 * draws.z["reasoning"] + 0.4 * draws.z["output"])
    limit = np.array(effects.max_tokens)[effects.limit]
    wanted = np.maximum(np.rint(answer + thought), 1)
    tokens = np.minimum(wanted, limit).astype(np.int64)
    return tokens, np.minimum(np.rint(thought), tokens).astype(np.int64), wanted > limit


def _errors(app: App, draws: Draws, effects: Effects, in_burst: BoolArray) -> IntArray:
    """Give the index into ERRORS, -1 for success."""
    shares = shares_of({name: share for name, (share, _, _) in ERRORS.items() if share})
    rate = np.where(in_burst, BURST_ERRORS, app.error_rate * (1 - BURST_PART))
    kind = np.searchsorted(shares, draws.u["error_type"], side="right")
    error = np.where(draws.u["error"] < rate, kind, -1)
    error[effects.freak > 0] = -1
    return np.where(effects.forced_error, OVERLOADED, error)


def _time_to_error(draws: Draws, error: IntArray) -> FloatArray:
    low = np.array([low for _, low, _ in ERRORS.values()])[error]
    high = np.array([high for _, _, high in ERRORS.values()])[error]
    return np.asarray(low * (high / low) ** draws.u["error_time"])


def _speeds(
    app: App, draws: Draws, calls: Arrivals, uncached: IntArray, tokens: IntArray, levels: FloatArray, effects: Effects
) -> tuple[FloatArray, FloatArray]:
    """Give latency and time to the first token, ms; `uncached`: input tokens not held by a prompt cache."""
    first = np.array([one.ttft_ms for one in effects.models])[effects.model]
    prefill = np.array([one.prefill_ms for one in effects.models])[effects.model]
    each = np.array([one.token_ms for one in effects.models])[effects.model]
    busiest = max(app.rhythm.hours) * len(app.rhythm.hours) / sum(app.rhythm.hours)
    load = app.load * np.minimum(intensity(app.rhythm, calls.time_ms) / busiest, 1)
    common = np.exp(load) * effects.latency * _tail(draws, "latency", LATENCY_TAIL)
    ttft = (first + prefill * uncached / 1000) * np.exp(
        app.latency_sd * draws.z["ttft"] + app.slow_latency_sd * levels[2]
    )
    rest = tokens * each * np.exp(0.6 * app.latency_sd * draws.z["speed"] + app.slow_latency_sd * levels[3])
    return np.minimum((ttft + rest) * common, LONGEST_MS), np.minimum(ttft * common, LONGEST_MS)
