"""Alembic's entry. ``database.migrate`` hands over an open connection whose search path is the schema."""

from alembic import context

from tapedeck.connectors.postgres.bookkeeping import METADATA

context.configure(connection=context.config.attributes["connection"], target_metadata=METADATA)
with context.begin_transaction():
    context.run_migrations()
