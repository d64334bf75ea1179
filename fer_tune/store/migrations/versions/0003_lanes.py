"""Upgrade: attempts know their lane, and epochs their share of the device."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Adds both columns. Until now each worker had one lane, whose epochs had the device alone."""
    op.add_column("fer_attempts", sa.Column("lane", sa.Integer, nullable=False, server_default="0"))
    op.add_column("fer_epochs", sa.Column("device_seconds", sa.Float(precision=53)))
    op.execute("update fer_epochs set device_seconds = seconds")
    op.execute("update fer_schema set version = 3")
