"""Shifts injected at 45, 60 and 75 % of quiet real streams: share found within 600 events, and delay."""

import math
from dataclasses import replace

import numpy as np
from longshore.detectors.jit import Floats

from tests.realdata import Values

from .crossings import call_views
from .drive import Method, at_level
from .rivals import adwin, page_hinkley
from .table import note, table

WITHIN = 600
PLACES = (0.45, 0.6, 0.75)
#: in standard deviations of asinh(value), or as a factor
SHIFTS: tuple[float | str, ...] = (0.25, 0.5, 1.0, 2.0, "x1.2", "x1.5", "x2")
#: stream.view of the notes' list, and the event at which its quiet part ends
QUIET = {
    "azure.code.context": 6600,
    "azure.code.generated": 6600,
    "azure.conv.context": 6600,
    "azure.conv.generated": 6600,
    "aider.prompt_tokens": 6600,
    "aider.completion_tokens": 6600,
    "aider.latency_s": 1500,
}
METHODS: dict[str, Method] = {
    "longshore 1e4": at_level(1e4),
    "longshore 1e3": at_level(1e3),
    "ADWIN 1e-14": adwin(1e-14),
    "Page-Hinkley 160": page_hinkley(160.0),
}


def quiet_streams(views: dict[str, Values]) -> dict[str, Values]:
    """Streams without a documented change in the part that is used."""
    chosen: dict[str, Values] = {}
    for name, v in views.items():
        if v.binary:
            continue
        first = min((window.first for window in (*v.changes, *v.grey)), default=v.values.size)
        if first < 750:
            continue
        stop = min(first, 6600)
        days = None if v.days is None else v.days[:stop]
        chosen[name] = replace(v, values=v.values[:stop], days=days, changes=(), grey=())
    return chosen


def shifted(x: Floats, at: int, shift: float | str) -> Floats:
    """The stream with a lasting shift from event `at` on."""
    y = x.copy()
    if isinstance(shift, str):
        y[at:] *= float(shift[1:])
        return y
    centre = max(float(np.median(np.abs(x))), 1e-9)
    logs = np.arcsinh(x / centre)
    y[at:] = np.sinh(logs[at:] + shift * logs.std()) * centre
    return y


def measure(views: dict[str, Values], method: Method) -> dict[str, list[int | None]]:
    """Delays of every shift on every stream (None: not found), where the method is silent without the shift."""
    delays: dict[str, list[int | None]] = {str(shift): [] for shift in SHIFTS}
    for v in views.values():
        silent = method(v, 0)
        for place in PLACES:
            at = int(v.values.size * place)
            until = min(at + WITHIN, v.values.size)
            if ((silent >= at) & (silent < until)).any():
                continue
            for shift in SHIFTS:
                alarms = method(replace(v, values=shifted(v.values, at, shift)), 0)
                found = alarms[(alarms >= at) & (alarms < until)]
                delays[str(shift)].append(int(found[0]) - at if found.size else None)
    return delays


def cell(delays: list[int | None]) -> str:
    """Share found, and geometric mean delay with those not found counted as WITHIN."""
    if not delays:
        return "-"
    found = np.mean([delay is not None for delay in delays])
    mean = math.exp(np.mean([math.log((WITHIN if d is None else d) + 1) for d in delays])) - 1
    return f"{100 * found:.0f} % {mean:.0f}"


def section() -> str:
    """Injected shifts by split."""
    streams = quiet_streams(call_views())
    parts = []
    for split in ("dev", "test"):
        chosen = {name: v for name, v in streams.items() if v.split == split}
        results = {name: measure(chosen, method) for name, method in METHODS.items()}
        rows = [[str(s) + (" sd" if not isinstance(s, str) else ""), *(cell(r[str(s)]) for r in results.values())] for s in SHIFTS]
        parts.append(f"{split}: {len(chosen)} streams; share found within {WITHIN} events, mean delay\n")
        parts.append(table(["shift", *METHODS], rows))
    parts.append(note("Places where a method alarms without the shift as well are left out for it."))
    return "\n".join(parts)
