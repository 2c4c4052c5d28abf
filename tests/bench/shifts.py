"""Shifts injected at 45, 60 and 75 % of quiet real streams: share found within 600 events, and delay."""

import math
from dataclasses import replace

import numpy as np
from leeboard.detectors.core.jit import Floats

from tests.realdata import Values

from .crossings import call_views
from .drive import Method, at_level
from .rivals import adwin, page_hinkley
from .table import note, table

WITHIN = 600
PLACES = (0.45, 0.6, 0.75)
#: in standard deviations of asinh(value), or as a factor
SHIFTS: tuple[float | str, ...] = (0.25, 0.5, 1.0, 2.0, "x1.2", "x1.5", "x2")
#: the quiet streams on which figures were first given (name of the view, and where its quiet part ends)
FIRST_LIST = {
    "az.code.Con": 6600,
    "az.code.Gen": 6600,
    "az.conv.Con": 6600,
    "az.conv.Gen": 6600,
    "ai.prompt_tokens": 6600,
    "ai.completion_tokens": 6600,
    "ai.latency_s": 1500,
    "sg300.mid_chunk-66.in": 6600,
    "sg300.mid_chunk-66.ou": 6600,
    "sg300.mid_chunk-23.ou": 6600,
    "sg300.small_chunk-18.ou": 6600,
    "sg300.mid_chunk-30.ou": 6600,
    "ld0.gpt-4.op.lat": 6600,
    "ld0.gpt-3.5-turbo.op.lat": 6600,
    "al.gpt4>gpt4_0314": 6600,
    "al.vicuna-13b-v1.5>vicuna-13b-v1.5-togetherai": 6600,
}
#: shortest quiet part that is used of any other stream
SHORTEST = 750
METHODS: dict[str, Method] = {
    "leeboard 1e4": at_level(1e4),
    "leeboard 1e3": at_level(1e3),
    "ADWIN 1e-14": adwin(1e-14),
    "Page-Hinkley 160": page_hinkley(160.0),
}


def quiet_streams(views: dict[str, Values], first_list: bool) -> dict[str, Values]:
    """The quiet parts of the first list, or of every other numeric stream that has one."""
    chosen: dict[str, Values] = {}
    for name, v in views.items():
        view = next((known for known in FIRST_LIST if name.endswith("." + known)), None)
        if v.binary or (view is not None) != first_list:
            continue
        stop = min((window.first for window in (*v.changes, *v.grey)), default=v.values.size)
        if view is not None:
            stop = FIRST_LIST[view]
        elif stop < SHORTEST:
            continue
        stop = min(stop, v.values.size, 6600)
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
    """Injected shifts by list and split."""
    views = call_views()
    parts = []
    for title, first_list in (("first list", True), ("all other streams with a quiet part", False)):
        streams = quiet_streams(views, first_list)
        for split in ("dev", "test"):
            chosen = {name: v for name, v in streams.items() if v.split == split}
            results = {name: measure(chosen, method) for name, method in METHODS.items()}
            rows = [
                [str(s) + (" sd" if not isinstance(s, str) else ""), *(cell(r[str(s)]) for r in results.values())]
                for s in SHIFTS
            ]
            parts.append(f"{title}, {split}: {len(chosen)} streams; found within {WITHIN} events, mean delay\n")
            parts.append(table(["shift", *METHODS], rows))
    parts.append(note("Places where a method alarms without the shift as well are left out for it."))
    return "\n".join(parts)
