"""From a message to its sinks: routes, one queue and thread a sink, retries, metrics, rehearsal. Knows no Kafka."""
