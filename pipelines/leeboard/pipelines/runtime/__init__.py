"""The stages as code without a broker: what they do with records, not where the records come from."""
