"""What an embedder is to the rest of the program, and how it is told."""

from typing import Annotated, Literal, Protocol

import numpy as np
import numpy.typing as npt
from leeboard.schemas import MAX_DIMENSIONS
from msgspec import Meta, Struct

Vectors = npt.NDArray[np.float32]


class EmbedderError(Exception):
    """The embedder cannot be made, or did not answer; the message quotes no text."""


class EmbedderSettings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`[embedder]`: vectors of texts."""

    #: `static` (the table that comes with leeboard), `sentence-transformers` (any model), or `none`
    backend: Literal["static", "sentence-transformers", "none"] = "static"
    #: for `sentence-transformers`: name or folder of the model
    model: str | None = None
    #: for `sentence-transformers`: `cpu`, `cuda`, `mps` ..., as PyTorch names it
    device: str = "cpu"
    #: which texts get a vector
    texts: Literal["both", "input", "output"] = "both"
    #: length of the vectors that come with calls, others are refused; None: any up to MAX_DIMENSIONS
    dimensions: Annotated[int, Meta(ge=1, le=MAX_DIMENSIONS)] | None = None
    #: for `sentence-transformers`: texts whose vectors are kept, by their hash: 10,000 x 384 float32 = 15 MB
    cache_texts: Annotated[int, Meta(ge=0, le=1_000_000)] = 10_000
    #: for `sentence-transformers`: seconds that up to 32 calls wait for their vectors; then they go on without: a model
    #: of six layers takes 4 s for 64 long texts on one core, one of 24 layers some 30 s
    timeout_s: Annotated[float, Meta(gt=0, le=120)] = 60.0


class Embedder(Protocol):
    """Turns texts into vectors."""

    @property
    def fingerprint(self) -> str:
        """Which embedder it is: vectors of different ones cannot be compared."""

    def encode(self, texts: list[str]) -> Vectors:
        """Vectors of unit length, (n, d), of n texts; 0 where a text has none. Raises EmbedderError."""
