"""The embedder that the settings name."""

from ..settings import EmbedderSettings
from .base import Embedder
from .static import StaticEmbedder


def make_embedder(settings: EmbedderSettings) -> Embedder | None:
    """Load the embedder; None where texts get no vectors. Raises EmbedderError."""
    if settings.backend == "none":
        return None
    if settings.backend == "static":
        return StaticEmbedder()
    from .transformer import load_transformer

    return load_transformer(settings)
