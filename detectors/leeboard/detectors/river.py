"""River's drift detectors in our contract, and ours in River's."""

import ast
import hashlib
import inspect
import re
from typing import Any

import numpy as np
from river import drift
from river.base import DriftDetector

from .base import Detector, Uniforms, Value, pack, unpack
from .core.changetime import ChangeTime
from .core.effect import finite
from .core.evidence import Evidence

#: a River detector restarts after so many values, from the last HISTORY / 2 of them: its state is then a function
#: of at most HISTORY values, which is what a snapshot stores (River's own objects could only be pickled)
HISTORY = 2048
_VALUES = np.dtype([("value", "f8")])


def make_river(spec: str) -> DriftDetector:
    """A River drift detector from `Name` or `Name(parameter=number, ...)`, e.g. `ADWIN(delta=0.002)`.

    Raises ValueError where `river.drift` has no such detector or the parameters are not literal keywords.
    """
    match = re.fullmatch(r"\s*(\w+)\s*(\(.*\))?\s*", spec, re.DOTALL)
    kind = getattr(drift, match.group(1), None) if match else None
    if match is None or not (isinstance(kind, type) and issubclass(kind, DriftDetector)):
        raise ValueError(f"river.drift has no detector {spec!r}")
    try:
        node = ast.parse(f"f{match.group(2) or '()'}", mode="eval").body
        if not isinstance(node, ast.Call) or node.args:
            raise ValueError("parameters need names")
        parameters = {str(k.arg): ast.literal_eval(k.value) for k in node.keywords}
        if "seed" in inspect.signature(kind).parameters and parameters.get("seed") is None:
            parameters["seed"] = 0  # River's default is random, and no replay could repeat it
        detector: DriftDetector = kind(**parameters)
    except (SyntaxError, TypeError, ValueError, OverflowError, RecursionError, MemoryError) as error:
        raise ValueError(f"cannot make {spec!r}: {error}") from None
    return detector


class RiverDetector:
    """Any detector of `river.drift` for one stream. Its alarms carry no level: they raise notices, never pages.

    >>> detector = RiverDetector("PageHinkley(threshold=5)")
    >>> [t for t in range(60) if detector.update(0.0 if t < 40 else 9.0, uniforms=(0.5, 0.5, 0.5))]
    [40]
    """

    def __init__(self, spec: str) -> None:
        self.refused = 0
        self._spec = spec
        self._river = make_river(spec)
        self._values: list[float] = []
        self._open = False

    @property
    def log_level(self) -> float:
        """River's detectors claim nothing."""
        return -np.inf

    @property
    def open(self) -> bool:
        """The last value raised an alarm."""
        return self._open

    def update(
        self,
        value: Value,
        *,
        uniforms: Uniforms,  # noqa: ARG002 - the contract's; River uses no uniforms here
        clock: int | None = None,  # noqa: ARG002
        covariates: tuple[float, ...] | None = None,  # noqa: ARG002
    ) -> Evidence | None:
        """See `base.Detector.update`."""
        x = finite(value)
        if x is None:
            self.refused += 1
            return None
        if len(self._values) >= HISTORY:
            self._restart(self._values[-HISTORY // 2 :])
        self._values.append(x)
        self._river.update(x)
        self._open = bool(self._river.drift_detected)
        if not self._open:
            return None
        recent = self._values[-min(32, (len(self._values) + 1) // 2) :]
        older = self._values[: -len(recent)] or recent
        before = float(np.median(older))
        after = float(np.median(recent))
        change = ChangeTime(0, len(recent) - 1, 0)
        evidence = Evidence(
            0.0,
            "up" if after >= before else "down",
            before,
            after,
            after - before,
            (-np.inf, np.inf),
            len(older),
            len(recent),
            change,
            "empirical",
            f"river:{self._spec}",
        )
        self._restart([x])
        return evidence

    def accept(self) -> None:
        """Close the alarm."""
        self._open = False

    def snapshot(self) -> bytes:
        """The detector's name and the values since the last restart."""
        values = np.array([float(self.refused), float(self._open), *self._values])
        return self._spec.encode() + b"\n" + pack("river", values)

    @classmethod
    def from_snapshot(cls, state: bytes) -> "RiverDetector":
        """The detector that wrote a snapshot. Raises ValueError where `state` is not one."""
        detector = cls(state.partition(b"\n")[0].decode())
        detector.restore(state)
        return detector

    def restore(self, state: bytes) -> None:
        """Feed the values of a snapshot to a new detector. Raises ValueError where it is of another detector."""
        spec, _, packed = state.partition(b"\n")
        if spec.decode(errors="replace") != self._spec:
            raise ValueError(f"a snapshot of {spec[:40]!r}, this is {self._spec}")
        body = len(packed) - len(packed.partition(b"\n")[0]) - 1
        (values,) = unpack("river", packed, (_VALUES, body // _VALUES.itemsize))
        refused, open_, *kept = values["value"].tolist()
        self._restart(kept)
        self.refused, self._open = int(refused), bool(open_)

    def _restart(self, values: list[float]) -> None:
        self._river = make_river(self._spec)
        self._values = list(values)
        for x in values:
            self._river.update(x)


class _AsRiver(DriftDetector):
    """See `as_river`."""

    def __init__(self, detector: Detector, seed: int) -> None:
        super().__init__()
        self.detector = detector
        self.seed = seed
        self.evidence: Evidence | None = None
        self._count = 0

    def update(self, x: float) -> Any:
        """Take in one value; `drift_detected` and `evidence` then speak of it."""
        digest = hashlib.blake2b(f"{self.seed}/{self._count}".encode(), digest_size=24).digest()
        u, v, w = ((int.from_bytes(digest[at : at + 8], "big") >> 11) + 0.5 for at in (0, 8, 16))
        self._count += 1
        self.evidence = self.detector.update(x, uniforms=(u * 2.0**-53, v * 2.0**-53, w * 2.0**-53))
        self._drift_detected = self.evidence is not None
        return self


def as_river(detector: Detector, seed: int = 0) -> DriftDetector:
    """One of our detectors as a `river.base.DriftDetector`; the uniforms come from a hash of seed and event number.

    >>> from leeboard.detectors import NumericDetector
    >>> detector = as_river(NumericDetector(level=1e4), seed=7)
    >>> import random
    >>> rng = random.Random(3)
    >>> [t for t in range(600) if detector.update(rng.gauss(100 if t < 500 else 150, 10)).drift_detected]
    [504]
    """
    return _AsRiver(detector, seed)


__all__ = ["HISTORY", "RiverDetector", "as_river", "make_river"]
