"""Streams of yes and no, and of categories."""
