"""A witness: cosigns a log's checkpoints, each only as an extension of the last."""
