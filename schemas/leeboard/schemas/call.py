"""`model_call/1`: one request to a model and its answer or error, as applications emit it."""

from datetime import UTC, datetime
from typing import Annotated, Any

from msgspec import Meta, Struct

#: beyond this a number is nonsense and would not survive as float32
LARGEST = 1e15
Count = Annotated[int, Meta(ge=0, le=10**15)]
Amount = Annotated[float, Meta(ge=0, le=LARGEST)]
Instant = Annotated[datetime, Meta(tz=True)] | int
Name = Annotated[str, Meta(min_length=1)]


class ModelCall(Struct, tag_field="schema", tag="model_call/1", kw_only=True, omit_defaults=True, frozen=True):
    """One call. Only `id`, `time` and `app` are required; what is missing is "not measured", never zero."""

    id: Name
    #: end of the call: a datetime with time zone (RFC 3339 on the wire) or integer epoch milliseconds
    time: Instant
    app: Name
    env: str = "default"
    #: feature, prompt name or endpoint; `prompt_name`, else "default", where absent
    route: str | None = None
    tenant: str | None = None
    provider: str | None = None
    model_requested: str | None = None
    model_served: str | None = None
    system_fingerprint: str | None = None
    prompt_name: str | None = None
    prompt_version: str | None = None
    system_text: str | None = None
    input_text: str | None = None
    output_text: str | None = None
    #: names of the tools offered
    tools: list[str] | None = None
    #: names of the tools used
    tool_calls: list[str] | None = None
    #: temperature, max_tokens, response_format ...
    params: dict[str, Any] | None = None
    input_tokens: Count | None = None
    output_tokens: Count | None = None
    cached_tokens: Count | None = None
    reasoning_tokens: Count | None = None
    cost_usd: Amount | None = None
    latency_ms: Amount | None = None
    ttft_ms: Amount | None = None
    finish_reason: str | None = None
    #: None means success
    error_type: str | None = None
    #: the answer came from a cache
    cached: bool | None = None
    app_version: str | None = None
    session: str | None = None
    user: str | None = None
    trace_id: str | None = None
    span_id: str | None = None
    labels: dict[str, str] | None = None
    scores: dict[str, float | str] | None = None
    sample_rate: Annotated[float, Meta(gt=0, le=1)] | None = None
    input_vector: list[float] | None = None
    output_vector: list[float] | None = None


def epoch_ms(time: datetime | int) -> int:
    """Integer milliseconds since 1970 of a `time` field."""
    if isinstance(time, int):
        return time
    return (time - _EPOCH) // _MILLISECOND


def route_of(call: ModelCall) -> str:
    """The route that a call counts for."""
    return call.route or call.prompt_name or "default"


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = datetime(1970, 1, 1, 0, 0, 0, 1000) - datetime(1970, 1, 1)
