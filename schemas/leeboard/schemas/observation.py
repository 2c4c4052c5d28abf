"""`observation/1`: a call after measuring: numbers, categories and labels, no text."""

from typing import Annotated

from msgspec import Meta, Struct

from .text import TextMeasures

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
    # cosine of the vectors of input and output, -1 to 1
    "relevance",
    # share of the output's sequences of four tokens that came before in it
    "repetition",
)
#: numbers that every version had: an older observation holds at least so many
FEWEST_NUMBERS = 8
#: smallest value of a number that can be negative; the others are amounts
SIGNED = {"relevance": -1.0}
#: what `Observation.flags` holds: two bits each, in this order (0 not measured, 1 no, 2 yes)
FLAGS = (
    "error",
    "truncated",
    "empty",
    "refusal",
    # is the answer JSON, where JSON was asked for?
    "json_valid",
    # has every text a vector that should have one?
    "coverage.vectors",
)
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


class Observation(
    Struct, tag_field="schema", tag="observation/1", kw_only=True, omit_defaults=True, frozen=True, gc=False
):
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
    #: little-endian float32, one for every name in NUMBERS (older ones: fewer, see FEWEST_NUMBERS); NaN: not measured
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
    #: what was measured of the texts; None where there is none, or nothing but white space
    input: TextMeasures | None = None
    output: TextMeasures | None = None
    #: how texts were counted: features and style of different versions cannot be compared
    text_version: str | None = None

    def all_numbers(self) -> bytes:
        """`numbers` for exactly the names in NUMBERS: NaN for those that an older observation does not have."""
        return self.numbers if len(self.numbers) == _WIDTH else (self.numbers + _NO_NUMBERS)[:_WIDTH]


_WIDTH = 4 * len(NUMBERS)
#: little-endian NaN
_NO_NUMBERS = b"\x00\x00\xc0\x7f" * len(NUMBERS)
