"""aider_telemetry: 2,629 calls of one developer over four months, with model switches and an error burst."""

from typing import Any

from leeboard.schemas import ModelCall

from .folder import rows
from .stream import Stream, View, Window

FILE = "aider_telemetry/calls.csv.gz"
LAST = 2629
#: rows are numbered by `seq`; the windows are those of the prototype
OLLAMA = Window("ollama", 415, 560)
SSL = Window("ssl", 808, 900)
DEEPSEEK = Window("deepseek", 1624, 2126)
BACK = Window("back", 2127, 2385)
O3_MINI = Window("o3mini", 2386, LAST)
VIEWS = (
    View("ai.prompt_tokens", "input_tokens", "dev", grey=(OLLAMA,)),
    View("ai.completion_tokens", "output_tokens", "test", grey=(OLLAMA,)),
    View("ai.cost_usd", "cost_usd", "dev", (DEEPSEEK, BACK), (OLLAMA, O3_MINI)),
    View("ai.latency_s", "latency_ms", "test", (O3_MINI,), scale=1e-3),
    View("ai.error", "error", "test", (SSL,)),
)


def aider(*, blind: bool = False) -> Stream:
    """The stream; `blind` leaves the model out."""
    return Stream(
        name="aider.blind" if blind else "aider",
        calls=[_call(row, blind=blind) for row in rows(FILE)],
        changes=(SSL, DEEPSEEK, BACK, O3_MINI),
        grey=(OLLAMA,),
        views=VIEWS,
    )


def _call(row: dict[str, str], *, blind: bool) -> ModelCall:
    common: dict[str, Any] = {
        "id": f"aider-{int(row['seq']):05d}",
        "time": int(row["time"]) * 1000,
        "app": "aider",
        "route": "edit",
        "app_version": row["aider_version"] or None,
    }
    if row["event"] == "error":
        return ModelCall(**common, error_type=row["error"])
    model = row["model"] if row["model"] not in ("", "None") else None
    return ModelCall(
        **common,
        model_served=None if blind else model,
        input_tokens=int(row["prompt_tokens"]),
        output_tokens=int(row["completion_tokens"]),
        cost_usd=float(row["cost_usd"]),
        latency_ms=float(row["latency_s"]) * 1000 if row["latency_s"] else None,
        labels={"edit_format": row["edit_format"]} if row["edit_format"] else None,
    )
