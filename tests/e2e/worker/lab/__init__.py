"""Workflows for tests with real processes; `ledger` is what the outside world sees of them."""
