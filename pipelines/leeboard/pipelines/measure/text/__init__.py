"""What is measured of a text by itself: features, style counts, refusal, repetition, language."""

from .reader import Reading, TextReader, text_version

__all__ = ["Reading", "TextReader", "text_version"]
