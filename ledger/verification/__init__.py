"""Verification: what is stored is computed again and compared; nothing is believed."""
