"""The example data factory: plain ingest functions, and the Dagster project that wraps them.

What a manifest and a ticket are stands beside the contracts; above it the rooms ingestion, data_factory, consumers.
"""
