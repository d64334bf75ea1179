"""The database: engine, tables, records, artifacts, the ledger of test openings, and who runs which study."""

from fer_tune.store.lock import StudyLock, is_run
from fer_tune.store.records import ArtifactRecord, AttemptRecord, LedgerRecord, MirrorCursor, SplitRecord, StudyRecord
from fer_tune.store.retry import Patience
from fer_tune.store.store import Store

__all__ = [
    "ArtifactRecord",
    "AttemptRecord",
    "LedgerRecord",
    "MirrorCursor",
    "Patience",
    "SplitRecord",
    "Store",
    "StudyLock",
    "StudyRecord",
    "is_run",
]
