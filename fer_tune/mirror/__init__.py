"""The mirror: a process of its own that reads the database and copies it to a tracker.

    tracker.py        what a tracker is, and how to add one; trackers.py lists them
    runs.py           what a tracker must know about a job, read from the database
    outbox.py         which runs are still to be copied, and the cursors that remember it
    copying.py        the process that copies; __main__.py keeps one alive
    process.py        starting and stopping both, and the lock: one mirror for each study
    supervisor.py     the observer that runs a mirror beside a run
    sync.py           the same copying, afterwards and awaited
    wandb_tracker/    the adapter to wandb; mlflow_tracker.py, tensorboard_tracker.py

A run never waits for the mirror. What a mirror did not copy, the next one copies: the database has
a cursor for each job, and the tracker's server is asked what it has.
"""

from fer_tune.mirror.process import GRACE, MirrorHandle, MirrorLock, start
from fer_tune.mirror.tracker import Mode

__all__ = ["GRACE", "MirrorHandle", "MirrorLock", "Mode", "start"]
