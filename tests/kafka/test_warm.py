"""What a worker warms its kernels with."""

from leeboard.pipelines.config import Config
from leeboard.pipelines.replay import Replay
from leeboard.pipelines.runtime.warm import warm_calls


def test_a_worker_has_seen_a_change_of_numbers_and_of_texts_before_it_joins() -> None:
    """The code that opens either is compiled then; at the first change it would take seconds."""
    replay = Replay(Config())
    replay.feed(warm_calls())
    moved = {signal.name for alert in replay.finish().alerts for signal in alert.signals}
    assert moved >= {"latency_ms", "model_served", "output_features", "output_style", "output_given_input"}
