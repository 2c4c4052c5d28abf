"""`observation/1`: a call after measuring: numbers, categories and labels, no text."""

from typing import Annotated

from msgspec import Meta, Struct

#: what `Observation.numbers` holds, in this order; fields are only ever added at the end
NUMBERS = (
    "input_tokens",
    "output_tokens",
    "reasoning_tokens",
    "tool_calls",
    "latency_ms",
    "ttft_ms",
    "cost_usd",
    "cached_share",
)
#: what `Observation.flags` holds: two bits each, in this order (0 not measured, 1 no, 2 yes)
FLAGS = ("error", "truncated", "empty")
#: field groups of the coverage channel; bit k of `Observation.measured`
GROUPS = ("tokens", "cost", "latency", "input_text", "output_text", "scores")
#: category `error_type` of a call that succeeded
NO_ERROR = "none"
#: longest label, category or error type, in bytes of UTF-8
MAX_LABEL_BYTES = 128
#: most user labels of a call that are kept (in order of their names)
MAX_LABELS = 16
#: a set of bits: 16 flags or 32 groups, so that both fit an unsigned 32-bit column
Bits = Annotated[int, Meta(ge=0, le=2**32 - 1)]


class Observation(Struct, tag_field="schema", tag="observation/1", kw_only=True, omit_defaults=True, frozen=True):
    """One measured call. MessagePack on the wire, where `numbers` is binary."""

    id: str
    #: first 64 bits of blake2b(id)
    id_hash: Annotated[int, Meta(ge=0)]
    #: end of the call, epoch milliseconds
    time: int
    #: percent-encoded `tenant/app/env/route`
    scope: str
    #: when the record that brought the call was written, epoch milliseconds
    received: int | None = None
    #: where the call came from: topic id, partition, offset, index in the record
    source: tuple[str, int, int, int] | None = None
    #: little-endian float32, one for every name in NUMBERS; NaN is "not measured"
    numbers: bytes
    #: see FLAGS
    flags: Bits = 0
    #: see GROUPS
    measured: Bits = 0
    #: categorical signals and identity labels: finish_reason, error_type, model_served ...
    categories: dict[str, str] = {}
    #: names of the tools used
    tools: tuple[str, ...] = ()
    #: the user's labels, and `tenant` where it is not part of the scope
    labels: dict[str, str] = {}
    scores: dict[str, float | str] = {}
    #: where `cost_usd` came from: `call`, or the version of the price table
    cost_source: str | None = None
    #: keyed hash of the input text, hex
    input_hash: str | None = None
    #: HMAC of session and user with the deployment's key, hex
    session: str | None = None
    user: str | None = None
    trace_id: str | None = None
    span_id: str | None = None
