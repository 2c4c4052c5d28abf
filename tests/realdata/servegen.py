"""servegen: token counts of six clients over two weeks, drawn from the recorded distribution of every six hours."""

import ast

import numpy as np
from leeboard.schemas import ModelCall

from .folder import document
from .stream import Floats, Split, Stream, View, Window

#: clients of the prototype; the split is that of the prototype
CLIENTS: dict[str, Split] = {
    "m-mid_chunk-66": "dev",
    "m-mid_chunk-23": "test",
    "m-small_chunk-18": "test",
    "m-large_chunk-143": "test",
    "m-small_chunk-31": "dev",
    "m-mid_chunk-30": "test",
}
#: the one client with an abrupt change: its window, and how many windows the change may take to be seen
CHANGED, CHANGED_AT, CHANGED_FOR = "m-large_chunk-143", 39, 4
WINDOW_S = 21_600
WINDOWS_A_DAY = 4
DRAWS = 300
SEED = 5
#: 2025-03-03 00:00 UTC, a Monday; the data have no date
START_MS = 1_740_960_000_000


def servegen(client: str, draws: int = DRAWS) -> Stream:
    """`draws` calls in each window, spread evenly over it; inputs and outputs are independent in the data."""
    table = document(f"servegen/{client}-dataset.json.gz")
    starts = [start for start in sorted(table, key=int) if table[start]["input_tokens"]]
    rng = np.random.default_rng(SEED)
    # all inputs before all outputs: the draws of the prototype
    inputs, outputs = (
        [_drawn(rng, table[start][name], draws) for start in starts] for name in ("input_tokens", "output_tokens")
    )
    sizes = zip(np.concatenate(inputs).tolist(), np.concatenate(outputs).tolist(), strict=True)
    windows = np.repeat([int(start) // WINDOW_S for start in starts], draws)
    within = np.tile(np.arange(draws), len(starts))
    times = START_MS + windows * WINDOW_S * 1000 + (2 * within + 1) * WINDOW_S * 500 // draws
    calls = [
        ModelCall(
            id=f"servegen-{client}-{number:06d}",
            time=time,
            app="servegen",
            route=client,
            input_tokens=int(tokens_in),
            output_tokens=int(tokens_out),
        )
        for number, (time, (tokens_in, tokens_out)) in enumerate(zip(times.tolist(), sizes, strict=True))
    ]
    changes: tuple[Window, ...] = ()
    grey: tuple[Window, ...] = ()
    if client == CHANGED:
        first = int(np.searchsorted(windows, CHANGED_AT))
        last = first + CHANGED_FOR * draws
        changes = (Window(f"w{CHANGED_AT}", first, last),)
        grey = (Window("aftermath", last, len(calls)),)
    views = tuple(
        View(f"sg{draws}.{client[2:]}.{field[:2]}", field, CLIENTS[client], changes, grey)
        for field in ("input_tokens", "output_tokens")
    )
    # the clock that the distributions know: the middle of their window
    days = windows / WINDOWS_A_DAY + 0.5 / WINDOWS_A_DAY
    return Stream(f"servegen.{client[2:]}.{draws}", calls, changes, grey, views, days)


def _drawn(rng: np.random.Generator, histogram: str, n: int) -> Floats:
    shares: dict[int, float] = ast.literal_eval(histogram)
    weights = np.array(list(shares.values()), float)
    return rng.choice(np.array(list(shares), float), n, p=weights / weights.sum())
