"""`python -m ledger.cli` is the `ledger` command."""

from ledger.cli import main

main()
