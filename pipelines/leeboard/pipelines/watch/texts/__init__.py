"""The texts of scopes."""
