"""The stages as Kafka workers: one process a stage, that loses no record and applies none twice."""
