"""The feed on Kafka: the loop that carries out what the fold says, the consumer group, history, heartbeat, tail."""
