"""`ModelCall` to `Observation`. Reads no clock; what a call does not carry stays "not measured"."""

import math
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import islice
from operator import attrgetter
from struct import Struct as Layout
from typing import NamedTuple, TypeAlias, TypeVar

from leeboard.schemas import (
    MAX_LABEL_BYTES,
    MAX_LABELS,
    NO_ERROR,
    NUMBERS,
    ModelCall,
    Observation,
    epoch_ms,
    route_of,
    scope_key,
)

from .fingerprints import KeyedHash, canonical_json, canonical_names, canonical_text, id_hash, short_hash
from .pricing import PRICE_SOURCE, price_usd
from .settings import MeasureSettings
from .texts import CallTexts, Texts

Redactor: TypeAlias = Callable[[str], str]
#: what is not a call
Other = TypeVar("Other")

#: longest call, trace or span id in bytes of UTF-8; `id_hash` is of the whole id, so longer ones still differ
MAX_ID_BYTES = 256
#: names of used tools that an observation carries: 32 x MAX_LABEL_BYTES = 4 KB
MAX_TOOLS = 32
#: scores of a call that are kept, in order of their names: as many as labels
MAX_SCORES = MAX_LABELS
#: calls whose texts go to the embedder together: 64 texts, 3 s of a model of six layers on one core
CALLS_AT_ONCE = 32
#: scope keys kept encoded, least recently used out first: 4,096 x at most 2 x 1 KB (MAX_KEY_BYTES) = 8 MB
SCOPES_KEPT = 4096

_NAN = math.nan
_layout = Layout(f"<{len(NUMBERS)}f")
#: what a failed call measures of NUMBERS after the first
_ONLY_INPUT = (_NAN,) * (len(NUMBERS) - 1)
_YES_NO = {None: 0, False: 1, True: 2}
# lower-case finish reasons of an answer that was cut off: OpenAI, Anthropic, Gemini (also its enum as text), Mistral
_CUT_OFF = frozenset(
    {
        "length",
        "max_tokens",
        "max_output_tokens",
        "max_length",
        "model_length",
        "model_context_window_exceeded",
        "finishreason.max_tokens",
    }
)
_IDENTITY = (
    "provider",
    "model_requested",
    "model_served",
    "system_fingerprint",
    "prompt_version",
    "app_version",
)
_identity = attrgetter(*_IDENTITY)
# C0 and C1 controls, line and paragraph separators, marks that turn the direction of writing, lone surrogates: none may
# reach a terminal or a page
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


class Arrival(NamedTuple):
    """A call to be measured, and how it came."""

    call: ModelCall
    #: when the record that brought it was written, epoch milliseconds
    received_ms: int | None = None
    #: topic id, partition, offset, index in the record
    source: tuple[str, int, int, int] | None = None


def unredacted(text: str) -> str:
    """Leave the text as it is: the default redactor."""
    return text


class Measurer:
    """Measures calls, one batch after the other: not for two threads at once.

    `redact` sees every label, tenant and error type whole, before it is cut; what it raises is not caught. Making one
    loads the embedder and raises EmbedderError where that fails.
    """

    def __init__(self, settings: MeasureSettings, *, redact: Redactor = unredacted) -> None:
        self._settings = settings
        self._redact = redact
        self._texts = Texts(settings.text, settings.embedder, settings.min_tokens)
        self._scope_key = lru_cache(SCOPES_KEPT)(scope_key)
        self._input_hash = KeyedHash(settings.key, "input")
        self._session_hash = KeyedHash(settings.key, "session")
        self._user_hash = KeyedHash(settings.key, "user")

    @property
    def counts(self) -> dict[str, int]:
        """What could not be measured whole so far: see `texts.COUNTED`."""
        return self._texts.counts

    def measure(
        self, call: ModelCall, *, received_ms: int | None = None, source: tuple[str, int, int, int] | None = None
    ) -> Observation:
        """Measure a call that `decode` accepted.

        `received_ms`, `source`: see Arrival. The same call and settings always give the same observation.
        """
        return self.measure_batch([Arrival(call, received_ms, source)])[0]

    def measure_batch(self, arrivals: Sequence[Arrival]) -> list[Observation]:
        """Measure calls in their order; their texts go to the embedder together."""
        texts = self._texts.measure([arrival.call for arrival in arrivals])
        return [self._observation(*arrival, text) for arrival, text in zip(arrivals, texts, strict=True)]

    def measure_all(self, records: Iterable[Other | ModelCall]) -> Iterator[Other | Observation]:
        """Records in their order, the calls among them measured, CALLS_AT_ONCE at a time."""
        stream = iter(records)
        while some := list(islice(stream, CALLS_AT_ONCE)):
            measured = iter(self.measure_batch([Arrival(record) for record in some if isinstance(record, ModelCall)]))
            for record in some:
                yield next(measured) if isinstance(record, ModelCall) else record

    def _observation(
        self,
        call: ModelCall,
        received_ms: int | None,
        source: tuple[str, int, int, int] | None,
        texts: CallTexts,
    ) -> Observation:
        time_ms = epoch_ms(call.time)
        cost_usd, cost_source = self._cost(call, time_ms)
        priced = cost_source is not None
        if call.cached:
            # answered by the application's own cache: what the model would have cost is not what was paid
            cost_usd, cost_source = _NAN, None
        tenant = call.tenant if self._settings.tenant_in_scope else None
        categories = self._categories(call)
        if texts.input_language is not None:
            categories["input_language"] = texts.input_language
        if texts.output_language is not None:
            categories["output_language"] = texts.output_language
        input_hash = self._hash_prompt(call, categories)
        return Observation(
            id=clean(call.id, MAX_ID_BYTES),
            id_hash=id_hash(call.id),
            time=time_ms,
            scope=self._scope_key(tenant, call.app, call.env, route_of(call)),
            received=received_ms,
            source=source,
            numbers=_numbers(call, cost_usd, texts),
            flags=_flags(call, texts),
            measured=_measured(call, priced),
            categories=categories,
            tools=_tools(call),
            labels=self._labels(call),
            scores=_scores(call),
            cost_source=cost_source,
            input_hash=input_hash,
            session=None if call.session is None else self._session_hash.of(call.session.encode()),
            user=None if call.user is None else self._user_hash.of(call.user.encode()),
            trace_id=None if call.trace_id is None else clean(call.trace_id, MAX_ID_BYTES),
            span_id=None if call.span_id is None else clean(call.span_id, MAX_ID_BYTES),
            input=texts.input,
            output=texts.output,
            text_version=self._texts.version if texts.input or texts.output else None,
        )

    def _cost(self, call: ModelCall, time_ms: int) -> tuple[float, str | None]:
        """USD and where they came from; NaN and None where the cost cannot be told or the call failed."""
        if call.error_type is not None:
            return _NAN, None
        if call.cost_usd is not None:
            return call.cost_usd, "call"
        model = call.model_served or call.model_requested
        if not self._settings.price or not model:
            return _NAN, None
        usd = price_usd(
            call.provider,
            model,
            time_ms,
            input_tokens=call.input_tokens,
            output_tokens=call.output_tokens,
            cached_tokens=call.cached_tokens,
        )
        return (_NAN, None) if usd is None else (usd, PRICE_SOURCE)

    def _categories(self, call: ModelCall) -> dict[str, str]:
        """Categorical signals and identity labels without the hashes of the prompt; empty text counts as absent."""
        categories = {}
        if call.error_type is not None:
            categories["error_type"] = clean(self._redact(call.error_type))
        else:
            categories["error_type"] = NO_ERROR
            # how a failed call finished is its error type: it does not enter output statistics
            if call.finish_reason:
                categories["finish_reason"] = clean(call.finish_reason)
        for name, value in zip(_IDENTITY, _identity(call), strict=True):
            if value:
                categories[name] = clean(value)
        if call.sample_rate is not None:
            categories["sample_rate"] = f"{call.sample_rate:g}"
        return categories

    def _hash_prompt(self, call: ModelCall, categories: dict[str, str]) -> str | None:
        """Add the hashes of the prompt to `categories`; give the keyed hash of the input, where there is one.

        The input is the input text alone: two versions of a prompt are compared on equal inputs.
        """
        if call.system_text is not None:
            categories["system_hash"] = short_hash(canonical_text(call.system_text))
        if call.tools is not None:
            categories["tools_hash"] = short_hash(canonical_names(call.tools))
        if call.params is not None:
            categories["params_hash"] = short_hash(canonical_json(call.params))
        return None if call.input_text is None else self._input_hash.of(canonical_text(call.input_text))

    def _labels(self, call: ModelCall) -> dict[str, str]:
        labels = {}
        if call.labels:
            for name in sorted(call.labels)[:MAX_LABELS]:
                labels[clean(name)] = clean(self._redact(call.labels[name]))
        if call.tenant is not None and not self._settings.tenant_in_scope:
            labels["tenant"] = clean(self._redact(call.tenant))
        return labels


def clean(text: str, most_bytes: int = MAX_LABEL_BYTES) -> str:
    """`text` without control characters (U+FFFD instead), at most `most_bytes` of UTF-8, cut between characters."""
    if text.isascii() and len(text) <= most_bytes and text.isprintable():
        return text
    text = _UNPRINTABLE.sub("\ufffd", text[:most_bytes])
    return text.encode()[:most_bytes].decode("utf-8", "ignore")


def _numbers(call: ModelCall, cost_usd: float, texts: CallTexts) -> bytes:
    """Pack NUMBERS; `cost_usd` is NaN where it is not measured."""
    input_tokens = call.input_tokens
    if call.error_type is not None:
        return _layout.pack(_nan(input_tokens), *_ONLY_INPUT)
    if call.tools or call.tool_calls is not None:
        tool_calls: float = len(call.tool_calls or ())
    else:
        tool_calls = _NAN
    cached_share = _NAN
    if input_tokens and call.cached_tokens is not None:
        cached_share = min(call.cached_tokens / input_tokens, 1.0)
    return _layout.pack(
        _nan(input_tokens),
        _nan(call.output_tokens),
        _nan(call.reasoning_tokens),
        tool_calls,
        _NAN if call.cached else _nan(call.latency_ms),
        _NAN if call.cached else _nan(call.ttft_ms),
        cost_usd,
        cached_share,
        texts.relevance,
        texts.repetition,
    )


def _nan(value: float | None) -> float:
    return _NAN if value is None else value


def _flags(call: ModelCall, texts: CallTexts) -> int:
    """Pack FLAGS: error and embedded, and between them what only successful calls have."""
    flags = _YES_NO[texts.embedded] << 10
    if call.error_type is not None:
        return flags | 2
    flags |= 1 | _YES_NO[texts.refused] << 6 | _YES_NO[texts.json_valid] << 8
    if call.finish_reason:
        flags |= (2 if call.finish_reason.lower() in _CUT_OFF else 1) << 2
    text = call.output_text
    if text is not None:
        # text that was seen says more than a count of tokens
        blank = not text or text.isspace()
        flags |= (2 if blank and not call.tool_calls else 1) << 4
    elif call.output_tokens is not None:
        flags |= (2 if call.output_tokens == 0 and not call.tool_calls else 1) << 4
    return flags


def _measured(call: ModelCall, priced: bool) -> int:
    """Pack GROUPS. Tokens count as carried when both counts came: if either stops arriving, it shows."""
    if call.error_type is not None:
        return 0
    return (
        (call.input_tokens is not None and call.output_tokens is not None)
        | priced << 1
        | (call.latency_ms is not None) << 2
        | (call.input_text is not None) << 3
        | (call.output_text is not None) << 4
        | bool(call.scores) << 5
    )


def _tools(call: ModelCall) -> tuple[str, ...]:
    """Names of the tools that a successful call used, in its order."""
    if not call.tool_calls or call.error_type is not None:
        return ()
    return tuple(clean(name) for name in call.tool_calls[:MAX_TOOLS])


def _scores(call: ModelCall) -> dict[str, float | str]:
    scores: dict[str, float | str] = {}
    if call.scores:
        for name in sorted(call.scores)[:MAX_SCORES]:
            value = call.scores[name]
            if isinstance(value, str):
                scores[clean(name)] = clean(value)
            elif math.isfinite(value):
                scores[clean(name)] = value
    return scores
