"""From evidence to incidents and alerts."""
