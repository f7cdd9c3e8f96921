"""Ingest as Week03 has it: manifests and their gate, tickets, the warehouse."""
