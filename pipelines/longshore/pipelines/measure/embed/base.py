"""What an embedder is to the rest of the program."""

from typing import Protocol

import numpy as np
import numpy.typing as npt

Vectors = npt.NDArray[np.float32]


class EmbedderError(Exception):
    """The embedder cannot be made, or did not answer; the message quotes no text."""


class Embedder(Protocol):
    """Turns texts into vectors."""

    @property
    def fingerprint(self) -> str:
        """Which embedder it is: vectors of different ones cannot be compared."""

    @property
    def waits(self) -> bool:
        """May `encode` take long enough that an event loop should not wait for it?"""

    def encode(self, texts: list[str]) -> Vectors:
        """Vectors of unit length, (n, d), of n texts; 0 where a text has none. Raises EmbedderError."""
