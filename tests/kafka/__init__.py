"""Tests on a real Kafka broker, and the broker (no Docker: a Java runtime and Maven)."""
