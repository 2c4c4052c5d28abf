"""What operators ask of a cluster, and what a worker checks before it starts."""
