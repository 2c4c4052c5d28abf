"""Benchmarks: `python -m tests.bench [section ...]` measures and rewrites those sections of docs/BENCHMARKS.md."""
