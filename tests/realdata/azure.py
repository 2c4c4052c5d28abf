"""azure_llm_2023: one hour of two services, with a regime in the middle of one; and the two joined, a traffic mix."""

from datetime import UTC, datetime
from typing import Literal

from leeboard.schemas import ModelCall

from .folder import rows
from .stream import Split, Stream, View, Window

Service = Literal["conv", "code"]
#: regimes of conv with the time they may take to be seen, as in the prototype
REGIMES = (
    Window("6679", 6679, 9178),
    Window("9179", 9179, 11200),
    Window("13531", 13531, 15500),
    Window("16252", 16252, 18500),
)
#: calls of conv, then of code, in the joined stream
MIX_BEFORE = 6000
MIX_AFTER = 3000
MIX = Window("mix", MIX_BEFORE, MIX_BEFORE + MIX_AFTER)
#: the quiet part of the joined stream is that of conv: counted once
COUNTED_ELSEWHERE = Window("conv", 0, MIX_BEFORE)


def azure_code() -> Stream:
    """Sizes that do not change while arrivals fall to a third."""
    return Stream("azure.code", _calls("code", "code"), views=_views("code", "dev", "test"))


def azure_conv() -> Stream:
    """Answers become shorter for half an hour and recover."""
    return Stream("azure.conv", _calls("conv", "conv"), REGIMES, views=_views("conv", "test", "dev", REGIMES))


def azure_mix() -> Stream:
    """The first calls of conv followed by the first of code, which come when conv's next would have come."""
    conv = _calls("conv", "mix")
    at = conv[MIX_BEFORE].time
    code = _calls("code", "mix", start_ms=at if isinstance(at, int) else None)[:MIX_AFTER]
    grey = (COUNTED_ELSEWHERE,)
    views = _views("mix", "test", "dev", (MIX,), grey)
    return Stream("azure.mix", conv[:MIX_BEFORE] + code, (MIX,), grey, views)


def _views(
    name: str, context: Split, generated: Split, changes: tuple[Window, ...] = (), grey: tuple[Window, ...] = ()
) -> tuple[View, ...]:
    return (
        View(f"az.{name}.Con", "input_tokens", context, changes, grey),
        View(f"az.{name}.Gen", "output_tokens", generated, changes, grey),
    )


def _calls(service: Service, route: str, start_ms: int | None = None) -> list[ModelCall]:
    """The calls of a service, moved in time so that they begin at `start_ms` if that is given."""
    table = rows(f"azure_llm_2023/AzureLLMInferenceTrace_{service}.csv.gz")
    times = [_epoch_ms(row["TIMESTAMP"]) for row in table]
    moved = 0 if start_ms is None else start_ms - times[0]
    return [
        ModelCall(
            id=f"azure-{service}-{number:05d}",
            time=time + moved,
            app="azure",
            route=route,
            input_tokens=int(row["ContextTokens"]),
            output_tokens=int(row["GeneratedTokens"]),
        )
        for number, (time, row) in enumerate(zip(times, table, strict=True))
    ]


def _epoch_ms(stamp: str) -> int:
    """`2023-11-16 18:15:46.6805900`, UTC, to whole milliseconds."""
    seconds, _, fraction = stamp.partition(".")
    whole = datetime.fromisoformat(seconds).replace(tzinfo=UTC)
    return int(whole.timestamp()) * 1000 + int(fraction[:3])
