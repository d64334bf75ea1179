"""Upgrade from format 3 to 4: the database knows its storage folder; see store/folder.py.

The ledger has a table for openings of test by studies that were deleted.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Adds the folder's id and path, which the next run fills in, and the table."""
    op.add_column("fer_schema", sa.Column("folder", sa.String(32)))
    op.add_column("fer_schema", sa.Column("folder_path", sa.Text))
    op.create_table(
        "fer_past_openings",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("study", sa.String(512), nullable=False),
        sa.Column("split_hash", sa.String(64), sa.ForeignKey("fer_splits.hash"), nullable=False),
        sa.Column("purpose", sa.Text, nullable=False),
        sa.Column("opened", sa.DateTime, nullable=False),
    )
    op.execute("update fer_schema set version = 4")
