"""The files of a ledger: the only room that reads or writes them."""
