"""Corrections, erasure, and how a ledger is doing."""
