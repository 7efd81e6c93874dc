"""The worker tier: agrees by Raft on what is due, launches it, keeps the ledger."""
