"""The pure engine and the page gate."""
