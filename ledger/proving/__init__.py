"""What leaves the house: proofs, their check without a ledger, tlog-tiles export."""
