"""Jobs: the runner that supervises everything that trains, and what it needs.

    source.py       the port that jobs come from
    runner.py       one supervised loop: jobs out to workers, news in, the end
    running.py      a job that this run has begun
    states.py       every way that a job can go, in one table
    supervision.py  how long a job may be silent and may take, and when a run is hopeless
    checkpoints.py  checkpoints as files
    signals.py      Ctrl-C and SIGTERM
    observers.py    who hears what happens; none of them can end a run
    outcome.py      what a run is to do, and what it and its jobs came to

While the database is locked, or its disk is full or read-only, the run waits for the sweep's
`storage_patience`. Deadlines wait with it. At the end of `--hours` running jobs are stopped.
"""

from fer_tune.jobs.observers import Observer
from fer_tune.jobs.outcome import Ended, Plan, RunOutcome, StudyOutcome

__all__ = ["Ended", "Observer", "Plan", "RunOutcome", "StudyOutcome"]
