"""The page gate: alerts in, pages out."""
