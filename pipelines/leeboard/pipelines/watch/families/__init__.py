"""One object a kind of signal."""
