"""Where the state of all scopes lies, and how it is written and read."""
