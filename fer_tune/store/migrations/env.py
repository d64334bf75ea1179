"""Alembic runs this file. It runs the revisions on the connection that `upgrade` was called
with."""

from alembic import context

context.configure(connection=context.config.attributes["connection"], version_table="fer_alembic_version")
context.run_migrations()
