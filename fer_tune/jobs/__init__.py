"""Jobs: the runner that supervises everything that trains, and the parts that it is made of.

    source.py        the interface of a source, which proposes jobs
    runner.py        the supervised loop: gives jobs to idle workers until there are no more
    started_jobs.py  the jobs of a run, and what the run can do with one of them
    running.py       one such job, and what the run remembers of it
    job_messages.py   what the messages of workers mean for their jobs
    supervisor.py    stops jobs that take too long, and ends silent workers
    time_left.py     the hours of a run, and the GPU-hours of its study
    limits.py        limits of jobs, workers and runs, and when a run is hopeless
    states.py        the states of a job and all transitions between them, in one table
    checkpoints.py   paths of checkpoints, and their removal
    signals.py       Ctrl-C and SIGTERM
    observers.py     observers of a run; an observer that fails does not end the run
    outcome.py       the plan of a run, and the results of runs, studies and jobs

The database may be locked, or its disk full or read-only. The run then waits for up to the sweep's
`storage_patience`. This time does not count towards a job's time limits. When the `--hours` of a
run are over, the runner stops the running jobs.
"""

from fer_tune.jobs.observers import Observer
from fer_tune.jobs.outcome import Ended, Plan, RunOutcome, StudyOutcome

__all__ = ["Ended", "Observer", "Plan", "RunOutcome", "StudyOutcome"]
