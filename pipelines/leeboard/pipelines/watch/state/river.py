"""River's detectors, where signals name one in place of ours."""

from collections.abc import Mapping

from leeboard.detectors import Evidence
from leeboard.detectors.river import RiverDetector


class RiverDetectors:
    """Those of all scopes, by scope slot and name of the signal."""

    def __init__(self) -> None:
        self._scopes: dict[int, dict[str, RiverDetector]] = {}

    def update(self, slot: int, signal: str, text: str, value: float) -> Evidence | None:
        """Feed a value to the detector of a signal; `text` says which one it is where the scope has none yet."""
        own = self._scopes.setdefault(slot, {})
        if signal not in own:
            own[signal] = RiverDetector(text)
        return own[signal].update(value, uniforms=(0.5, 0.5, 0.5))

    def dump(self, slot: int) -> dict[str, bytes]:
        """The states of a scope's detectors, by signal."""
        return {signal: detector.snapshot() for signal, detector in self._scopes.get(slot, {}).items()}

    def load(self, slot: int, states: Mapping[str, bytes]) -> None:
        """Make a scope's detectors what they were. Raises ValueError where a state is none."""
        self._scopes[slot] = {signal: RiverDetector.from_snapshot(state) for signal, state in states.items()}

    def drop_scope(self, slot: int) -> None:
        """Forget the detectors of a scope."""
        self._scopes.pop(slot, None)
