"""Upgrade from format 3 to 4: the database knows its storage folder; see store/folder.py."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Adds the folder's id and path. The next run fills them in."""
    op.add_column("fer_schema", sa.Column("folder", sa.String(32)))
    op.add_column("fer_schema", sa.Column("folder_path", sa.Text))
    op.execute("update fer_schema set version = 4")
