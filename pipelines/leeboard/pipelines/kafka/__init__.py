"""Kafka: workers that lose nothing and apply nothing twice, and what operators need beside them."""
