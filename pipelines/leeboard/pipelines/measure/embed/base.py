"""What an embedder is to the rest of the program."""

from typing import Protocol

import numpy as np
import numpy.typing as npt

Vectors = npt.NDArray[np.float32]


class Embedder(Protocol):
    """Turns texts into vectors."""

    @property
    def fingerprint(self) -> str:
        """Which embedder it is: vectors of different ones cannot be compared."""

    def encode(self, texts: list[str]) -> Vectors:
        """Vectors of unit length, (n, d), of n texts; 0 where a text has none. Raises EmbedderError."""
