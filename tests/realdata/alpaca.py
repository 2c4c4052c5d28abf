"""alpaca_eval: 805 prompts answered by dated model versions; text only."""

import numpy as np
from leeboard.schemas import ModelCall

from .folder import lines
from .stream import SPACING_MS, Split, Stream, View, Window

#: (before, after) -> was anything changed?, split of the prototype
PAIRS: dict[tuple[str, str], tuple[bool, Split]] = {
    ("gpt4", "gpt4_0314"): (False, "dev"),
    ("vicuna-13b-v1.5", "vicuna-13b-v1.5-togetherai"): (False, "test"),
    ("gpt4_0314", "gpt4_0613"): (True, "dev"),
    ("gpt4_0613", "gpt4_1106_preview"): (True, "test"),
    ("gpt-4-0125-preview", "gpt-4-turbo-2024-04-09"): (True, "test"),
    ("gpt4_0613", "gpt4_0613_concise"): (True, "dev"),
    ("gpt4_1106_preview", "gpt4_1106_preview_verbose"): (True, "test"),
}
#: one permutation of the prompts for both versions: the file is ordered by source
SEED = 4
#: 2024-05-06 00:00 UTC; the data have no times
START_MS = 1_714_953_600_000


def alpaca(before: str, after: str, *, blind: bool = False, in_file_order: bool = False) -> Stream:
    """All prompts to one version, then to the next; `in_file_order`: prompts as in the file, where sources differ."""
    changed, split = PAIRS[before, after]
    prompts = [row["instruction"] for row in lines("alpaca_eval/instructions.jsonl.gz")]
    n = len(prompts)
    order = range(n) if in_file_order else np.random.default_rng(SEED).permutation(n).tolist()
    change = (Window("update", n, 2 * n),) if changed else ()
    calls = []
    for k, version in enumerate((before, after)):
        outputs = [row["output"] for row in lines(f"alpaca_eval/outputs/{version}.jsonl.gz")]
        calls += [
            ModelCall(
                id=f"alpaca-{version}-{number:03d}",
                time=START_MS + (k * n + place) * SPACING_MS,
                app="alpaca",
                route="instruct",
                model_served=None if blind else version,
                input_text=prompts[number],
                output_text=outputs[number],
            )
            for place, number in enumerate(order)
        ]
    kind = "alord" if in_file_order else "al"
    name = f"alpaca.{before}>{after}{'.file_order' if in_file_order else ''}{'.blind' if blind else ''}"
    return Stream(name, calls, change, views=(View(f"{kind}.{before}>{after}", "output_chars", split, change),))
