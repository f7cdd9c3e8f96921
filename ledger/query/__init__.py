"""SQL over one consistent prefix of a ledger."""
