"""The write path after an append: segments, checkpoints and their signatures, compaction."""
