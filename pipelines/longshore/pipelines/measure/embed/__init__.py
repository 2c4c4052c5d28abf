"""Texts to vectors."""

from .base import Embedder, EmbedderError, Vectors
from .make import EmbedderSettings, make_embedder
from .static import StaticEmbedder

__all__ = ["Embedder", "EmbedderError", "EmbedderSettings", "StaticEmbedder", "Vectors", "make_embedder"]
