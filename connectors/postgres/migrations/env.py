"""Alembic's entry. ``database.migrate`` hands over an open connection whose search path is the schema."""

from alembic import context

from tapedeck.connectors.postgres.models import Base

context.configure(connection=context.config.attributes["connection"], target_metadata=Base.metadata)
with context.begin_transaction():
    context.run_migrations()
