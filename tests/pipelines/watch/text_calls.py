"""Calls with texts as they are measured, for tests of the engine: made-up measures become observations of one scope."""

from typing import Any

import numpy as np
from leeboard.schemas import NUMBERS, Observation, TextMeasures

from tests.realdata.texts import Side

from .streams import MINUTE_MS, START_MS

#: what measured them
VERSION, EMBEDDER = "texts-1", "table-1"


def measures(side: Side, k: int, embedder: str | None = EMBEDDER) -> TextMeasures:
    """What was measured of text number k."""
    vector = side.vectors[k].tobytes() if embedder is not None and side.scales[k] > 0 else None
    return TextMeasures(
        features=side.features[k].astype("<f4").tobytes(),
        tokens=int(side.tokens[k]),
        style=side.style[k].tobytes(),
        vector=vector,
        scale=float(side.scales[k]) if vector is not None else 0.0,
        embedder=embedder if vector is not None else None,
    )


def text_calls(
    outputs: Side | None,
    inputs: Side | None,
    *,
    first: int = 0,
    route: str = "answer",
    embedder: str | None = EMBEDDER,
    version: str = VERSION,
    **fields: Any,
) -> list[Observation]:
    """One call for every text; `first`: number of the first of them. They measure nothing but texts."""
    numbers = np.full(len(NUMBERS), np.nan, "<f4").tobytes()
    n = len((outputs or inputs).tokens)  # type: ignore[union-attr]
    rng = np.random.default_rng([first, *route.encode()])
    hashes = rng.integers(0, 2**63, n).tolist()
    return [
        Observation(
            id=f"{route}-{first + k:06d}",
            id_hash=hashes[k],
            time=START_MS + (first + k) * MINUTE_MS,
            scope=f"/shop/default/{route}",
            numbers=numbers,
            input=measures(inputs, k, embedder) if inputs is not None else None,
            output=measures(outputs, k, embedder) if outputs is not None else None,
            text_version=version,
            **fields,
        )
        for k in range(n)
    ]
