"""Jobs: the runner that supervises everything that trains, and the parts that it is made of.

    source.py       the interface of a source, which proposes jobs
    runner.py       the supervised loop: gives jobs to workers and handles their messages
    running.py      a job that this run has started and not yet finished
    states.py       the states of a job and all transitions between them, in one table
    supervision.py  time limits of jobs and workers, and when a run is hopeless
    checkpoints.py  paths of checkpoints, and their removal
    signals.py      Ctrl-C and SIGTERM
    observers.py    observers of a run; an observer that fails does not end the run
    outcome.py      the plan of a run, and the results of runs, studies and jobs

The database may be locked, or its disk full or read-only. The run then waits for up to the sweep's
`storage_patience`. This time does not count towards a job's time limits. When the `--hours` of a
run are over, the runner stops the running jobs.
"""

from fer_tune.jobs.observers import Observer
from fer_tune.jobs.outcome import Ended, Plan, RunOutcome, StudyOutcome

__all__ = ["Ended", "Observer", "Plan", "RunOutcome", "StudyOutcome"]
