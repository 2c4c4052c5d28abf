"""Kernels are compiled before a worker joins its group: ten seconds the first time, then they come from a cache."""

from longshore.schemas import ModelCall

from ..config import Config
from ..measure import Measurer
from ..watch.engine import Engine

#: calls until a change of the second half is seen, opened and looked at
CALLS = 240


def warm_kernels(config: Config) -> None:
    """Let an engine of its own watch a change, be written and be read back."""
    engine = Engine(config.engine())
    # whatever embedder is configured: *watch* takes measured calls
    measurer = Measurer(Config().measure())
    for k in range(CALLS):
        slow = 5.0 if k >= CALLS // 2 else 1.0
        call = ModelCall(
            id=f"warm-{k}",
            time=60_000 * k,
            app="warm",
            model_served="m" if k < CALLS // 2 else "n",
            input_tokens=100 + k % 7,
            output_tokens=50 + k % 11,
            latency_ms=slow * (100.0 + k % 13),
            cost_usd=0.001 * (1 + k % 5),
            error_type="timeout" if k % 17 == 0 else None,
            input_text="Is it warm?",
            output_text="**Yes**, it is.",
        )
        engine.step([measurer.measure(call)], [k])
    for key in list(engine.scopes):
        engine.restore(engine.snapshot(key))
