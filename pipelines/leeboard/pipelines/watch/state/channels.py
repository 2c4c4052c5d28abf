"""How a scope's evidence budget is divided: channels have weights, the signals of a channel share its part equally."""

import math

from leeboard.detectors.core.jit import Row, kernel


@kernel
def join_channel(scope: Row, channel: int, weight: float, channel_weight: float) -> None:
    """A signal is measured for the first time: its channel's budget is divided among one more."""
    scope["measured"][channel] += weight
    scope["channel_nats"][channel] = math.log(scope["measured"][channel] / channel_weight)


@kernel
def signal_nats(scope: Row, channel: int, weight: float, channel_weight: float, first: bool) -> float:
    """How much higher than the scope's level a signal must reach: log of 1 / its part of the evidence budget."""
    if first:
        join_channel(scope, channel, weight, channel_weight)
    nats: float = scope["channel_nats"][channel] - math.log(weight)
    return nats
