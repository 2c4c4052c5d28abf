"""Commands for people on call."""
