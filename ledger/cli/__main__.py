"""`python -m run_evidence.ledger.cli` is the `ledger` command."""

from run_evidence.ledger.cli import main

main()
