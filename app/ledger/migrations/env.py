"""Alembic's entry point: runs the migrations on the connection that `app.ledger.schema` hands over."""

from alembic import context

from app.ledger.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    transaction_per_migration=False,
)
with context.begin_transaction():
    context.run_migrations()
