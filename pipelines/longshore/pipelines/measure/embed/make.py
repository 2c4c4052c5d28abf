"""Which embedder, and how it is told."""

from typing import Annotated, Literal

from longshore.schemas import MAX_DIMENSIONS
from msgspec import Meta, Struct

from .base import Embedder, EmbedderError
from .static import StaticEmbedder

#: the name of the extra's package, for `longshore[embeddings]`
PACKAGE = "sentence_transformers"


class EmbedderSettings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`[embedder]`: vectors of texts."""

    #: `static` (the table that comes with longshore), `sentence-transformers` (any model), or `none`
    backend: Literal["static", "sentence-transformers", "none"] = "static"
    #: for `sentence-transformers`: name or folder of the model
    model: str | None = None
    #: for `sentence-transformers`: `cpu`, `cuda`, `mps` ..., as PyTorch names it
    device: str = "cpu"
    #: which texts get a vector
    texts: Literal["both", "input", "output"] = "both"
    #: length of the vectors that come with calls; others are refused. None: any length
    dimensions: Annotated[int, Meta(ge=1, le=MAX_DIMENSIONS)] | None = None
    #: for `sentence-transformers`: texts whose vectors are kept, by their hash
    cache_texts: Annotated[int, Meta(ge=0, le=1_000_000)] = 10_000
    #: for `sentence-transformers`: seconds that a batch of calls waits; after that it goes on without vectors
    timeout_s: Annotated[float, Meta(gt=0, le=600)] = 10.0


def make_embedder(settings: EmbedderSettings) -> Embedder | None:
    """Load the embedder; None where texts get no vectors. Raises EmbedderError."""
    if settings.backend == "none":
        return None
    if settings.backend == "static":
        return StaticEmbedder()
    if not settings.model:
        raise EmbedderError("embedder.model: sentence-transformers needs the name or the folder of a model")
    from .transformer import load

    return load(settings)
