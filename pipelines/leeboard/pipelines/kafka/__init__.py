"""The Kafka runtime: connections and settings; rooms for workers and for operators."""
