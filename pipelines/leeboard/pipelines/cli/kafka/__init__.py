"""Commands for operators of Kafka."""
