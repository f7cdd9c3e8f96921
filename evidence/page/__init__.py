"""The page: what a run, a partition or a release came to, drawn so that it verifies itself (docs/page.md)."""
