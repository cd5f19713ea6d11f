"""Alembic migrations of the ledger, run by `python -m app migrate`. Additive, so that old and new processes overlap."""
