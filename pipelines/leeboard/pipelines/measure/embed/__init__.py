"""Texts to vectors."""

from .base import Embedder, EmbedderError, EmbedderSettings, Vectors
from .make import make_embedder
from .static import StaticEmbedder

__all__ = ["Embedder", "EmbedderError", "EmbedderSettings", "StaticEmbedder", "Vectors", "make_embedder"]
