"""The page of a run, a partition or a release: its verdict, drawn so that it verifies itself (docs/page.md)."""
