"""From records to a batch of arrays."""
