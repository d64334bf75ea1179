"""The database: its tables and records, its upgrades, and the locks of studies.

store.py        `Store`, which opens a database and has one object for each kind of thing:
studies.py      studies and their splits
jobs.py         jobs, and the attempts at them
epochs.py       the measurements after each epoch
artifacts.py    files that jobs left
ledger.py       each opening of test images
cursors.py      how far trackers have copied jobs
tables.py       the tables, beside Optuna's
migrations/     upgrades of older databases
folder.py       the one storage folder of a database
lock.py         keeps two runs out of one study
retry.py        waits for a database or a disk that does not work for a while
"""

from fer_tune.store.folder import claim
from fer_tune.store.lock import ConfirmLock, StudyLock, confirm_lock, final_lock, is_run
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
    "ConfirmLock",
    "Cursor",
    "JobRecord",
    "LedgerRecord",
    "Patience",
    "SplitRecord",
    "Store",
    "StudyLock",
    "StudyRecord",
    "claim",
    "confirm_lock",
    "final_lock",
    "is_run",
]
