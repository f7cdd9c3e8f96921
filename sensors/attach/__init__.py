"""Attaching to a project: `with_ledger`, the asset hook and the sensors."""
