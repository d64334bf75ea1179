"""The database: engine, tables, records, artifacts, the ledger of test openings, and who runs which
study."""

from fer_tune.store.lock import StudyLock, final_lock, is_run
from fer_tune.store.records import (
    ArtifactRecord,
    AttemptRecord,
    Cursor,
    JobRecord,
    LedgerRecord,
    SplitRecord,
    StudyRecord,
)
from fer_tune.store.retry import Patience
from fer_tune.store.store import Store

__all__ = [
    "ArtifactRecord",
    "AttemptRecord",
    "Cursor",
    "JobRecord",
    "LedgerRecord",
    "Patience",
    "SplitRecord",
    "Store",
    "StudyLock",
    "StudyRecord",
    "final_lock",
    "is_run",
]
