"""Streams of numbers."""
