"""The name of a detector inside its scope."""

from typing import NamedTuple

from leeboard.pipelines.signals import Kind


class DetectorKey(NamedTuple):
    """Which detector of a scope: kind and column of its signal, and of a categorical one the category."""

    kind: Kind
    column: int
    category: int = 0
