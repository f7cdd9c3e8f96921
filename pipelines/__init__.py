"""The example data factory: plain ingest functions, and the Dagster project that wraps them."""
