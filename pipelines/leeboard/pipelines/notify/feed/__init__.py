"""From topics to messages."""
