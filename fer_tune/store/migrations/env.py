"""Alembic's entry: runs the revisions on the connection, and in the transaction, that `upgrade` was
given."""

from alembic import context

context.configure(connection=context.config.attributes["connection"], version_table="fer_alembic_version")
context.run_migrations()
