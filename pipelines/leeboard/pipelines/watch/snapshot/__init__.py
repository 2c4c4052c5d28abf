"""The state of a scope as bytes, and back."""
