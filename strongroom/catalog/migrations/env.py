"""Alembic environment: runs on the connection that `strongroom.catalog.store` hands over, never on its own."""

from alembic import context

from strongroom.catalog.tables import metadata

connection = context.config.attributes["connection"]
context.configure(connection=connection, target_metadata=metadata, render_as_batch=True)
with context.begin_transaction():
    context.run_migrations()
