"""The tables of fer-tune. They are in one database with Optuna's, and their names begin with fer_.

Optuna's tables hold what its samplers, pruners and dashboard need: trials, parameters, values and
attributes. Our tables hold the rest: studies with their sweep and split, jobs with their attempts,
epochs and files, and each opening of test images. A job of a search has the number of its trial.
There are no foreign keys to Optuna's tables, because Optuna may change them.

A change of these tables needs a migration in store/migrations/versions/.
"""

from __future__ import annotations

from datetime import UTC, datetime
from math import isnan
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Dialect,
    Float,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
)

FORMAT = 4
"""Format of these tables. Every version of fer-tune reads it in fer_schema before anything else."""

REVISION = "0004"
"""The newest revision of Alembic in store/migrations/versions/. A test compares the two."""

metadata = MetaData()


class Moment(TypeDecorator[datetime]):
    """A point in time. It is stored in UTC without a time zone, because SQLite has none."""

    impl = DateTime
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> Any:
        return None if value is None else value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        return None if value is None else value.replace(tzinfo=UTC)


class Measure(TypeDecorator[float]):
    """A measured number. It stores nan as NULL, as SQLite itself does."""

    impl = Float(precision=53)
    cache_ok = True

    def process_bind_param(self, value: float | None, dialect: Dialect) -> Any:
        return None if value is None or isnan(value) else float(value)

    def process_result_value(self, value: Any, dialect: Dialect) -> float:
        return float("nan") if value is None else float(value)


def _study() -> Column[int]:
    return Column("study_id", ForeignKey("fer_studies.id", ondelete="CASCADE"), nullable=False)


def _job() -> Column[int]:
    return Column("job_id", ForeignKey("fer_jobs.id", ondelete="CASCADE"))


schema = Table(
    "fer_schema",
    metadata,
    Column("id", Integer, primary_key=True),  # always 1: there is one row
    Column("version", Integer, nullable=False),
    Column("made_by", String(64), nullable=False),
    Column("folder", String(32)),  # id of the storage folder that has the files, and its last path; see folder.py
    Column("folder_path", Text),
)

revision = Table(
    "fer_alembic_version",
    metadata,
    Column("version_num", String(32), primary_key=True),
)

splits = Table(
    "fer_splits",
    metadata,
    Column("hash", String(64), primary_key=True),
    Column("data_signature", String(64), nullable=False),
    Column("path", Text, nullable=False),
    Column("policy", JSON, nullable=False),
    Column("counts", JSON, nullable=False),
)

studies = Table(
    "fer_studies",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", String(512), nullable=False, unique=True),
    Column("uid", String(8), nullable=False, unique=True),
    Column("family", String(64), nullable=False),
    Column("objective", String(64), nullable=False),
    Column("sweep_signature", String(64), nullable=False),
    Column("sweep_text", Text, nullable=False),
    Column("sweep_json", JSON, nullable=False),
    Column("data_source", Text, nullable=False),
    Column("data_signature", String(64), nullable=False),
    Column("data_cache", Text, nullable=False),
    Column("data_spec", JSON, nullable=False),
    Column("split_hash", ForeignKey("fer_splits.hash"), nullable=False),
    Column("versions", JSON, nullable=False),
    Column("created", Moment, nullable=False),
)

jobs = Table(
    "fer_jobs",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("uid", String(32), nullable=False, unique=True),
    _study(),
    Column("kind", String(16), nullable=False),
    Column("number", Integer),
    Column("name", Text),
    Column("params", JSON, nullable=False),
    Column("seed", BigInteger, nullable=False),
    Column("schedule", Integer, nullable=False),
    Column("until", Integer),
    Column("fit", String(16), nullable=False),
    Column("state", String(16), nullable=False),
    Column("reason", Text, nullable=False),
    Column("value", Float(precision=53)),
    Column("mirrored", Boolean, nullable=False),
    Column("origin", JSON, nullable=False),
    Column("created", Moment, nullable=False),
    Column("ended", Moment),
    Index("fer_jobs_of_study", "study_id", "kind", "number"),
)

attempts = Table(
    "fer_attempts",
    metadata,
    Column("job_id", ForeignKey("fer_jobs.id", ondelete="CASCADE"), primary_key=True),
    Column("attempt", Integer, primary_key=True, autoincrement=False),
    Column("worker", Integer, nullable=False),
    Column("lane", Integer, nullable=False, server_default="0"),
    Column("device", String(64), nullable=False),
    Column("started", Moment, nullable=False),
    Column("ended", Moment),
    Column("status", String(16)),
    Column("reason", Text, nullable=False),
    Column("detail", Text, nullable=False),
    Column("parameters", BigInteger, nullable=False),
    Column("notes", JSON, nullable=False),
)

epochs = Table(
    "fer_epochs",
    metadata,
    Column("job_id", Integer, primary_key=True, autoincrement=False),
    Column("attempt", Integer, primary_key=True, autoincrement=False),
    Column("epoch", Integer, primary_key=True, autoincrement=False),
    Column("train_loss", Measure),
    Column("train_accuracy", Measure),
    Column("val_loss", Measure),
    Column("val_accuracy", Measure),
    Column("val_macro_f1", Measure),
    Column("val_balanced_accuracy", Measure),
    Column("recall", JSON, nullable=False),
    Column("lr", Measure),
    Column("seconds", Measure),
    Column("images_per_second", Measure),
    Column("device_seconds", Measure),
    Column("recorded", Moment, nullable=False),
    ForeignKeyConstraint(["job_id", "attempt"], ["fer_attempts.job_id", "fer_attempts.attempt"], ondelete="CASCADE"),
)

artifacts = Table(
    "fer_artifacts",
    metadata,
    Column("id", Integer, primary_key=True),
    _study(),
    _job(),
    Column("kind", String(64), nullable=False),
    Column("path", String(1024), nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Column("created", Moment, nullable=False),
    UniqueConstraint("study_id", "path"),
    Index("fer_artifacts_of_job", "job_id"),
)

ledger = Table(
    "fer_ledger",
    metadata,
    Column("id", Integer, primary_key=True),
    _study(),
    _job(),
    Column("split_hash", ForeignKey("fer_splits.hash"), nullable=False),
    Column("purpose", Text, nullable=False),
    Column("opened", Moment, nullable=False),
    Index("fer_ledger_of_split", "split_hash"),
)

past_openings = Table(
    "fer_past_openings",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("study", String(512), nullable=False),  # a name, because the study was deleted
    Column("split_hash", ForeignKey("fer_splits.hash"), nullable=False),
    Column("purpose", Text, nullable=False),
    Column("opened", Moment, nullable=False),
)

cursors = Table(
    "fer_cursors",
    metadata,
    Column("job_id", ForeignKey("fer_jobs.id", ondelete="CASCADE"), primary_key=True),
    Column("tracker", String(32), primary_key=True),
    Column("run", String(128), nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("epoch", Integer, nullable=False),
    Column("finished", Boolean, nullable=False),
)
