"""From a message to its sinks."""
