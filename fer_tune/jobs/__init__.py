"""The run of one or several sweeps: the only wiring of sweep, study, pool, store and mirror.

The orchestrator is the one process that asks, tells and writes. It gives each idle worker a
trial, keeps every row that comes back, asks the pruner once for each epoch, and tells how
each trial ended. It neither trains nor imports torch.

    run.py          what a run stands on, and its studies one after another
    turn.py         one study's turn on the workers: trials out, news in, the end
    trials.py       the trials asked for and not yet told: what is recorded of them, what the study is told
    deadlines.py    how long a trial may be silent and may take, and whether a run is hopeless
    checkpoints.py  a study's checkpoints as files
    interrupt.py    Ctrl-C and SIGTERM
    mirroring.py    the mirror beside a study
    outcome.py      what a run and its trials came to
    watch.py        who is told what happens

What becomes of a trial:

    its worker says         the study is told
    ──────────────────────────────────────────────────────────────────────────────────
    completed               complete, with its best epoch's objective
    (pruned meanwhile)      pruned, with the last value reported; later rows are ignored
    diverged                pruned, with the last finite value and the reason
    failed                  failed, with the reason; the traceback lies in the store
    nothing: it died        goes on from its checkpoint on a fresh worker, `retries` times, then failed
    nothing for too long    its worker is ended and it goes on on a fresh one, once, then failed
    (trial_timeout)         pruned with the last value if it finished an epoch, else failed
    (the hours are over)    pruned, reason `time`, if it finished an epoch; else queued again
    (Ctrl-C, SIGTERM)       queued again after the epoch it is in: the same configuration comes first in the next run

While the database is locked, or its disk full or read-only, the run waits for the sweep's `storage_patience`;
deadlines wait with it. `--hours` is a limit and not a wish: at the deadline running trials are stopped, not awaited.
Queued again means a new trial of the same configuration; the interrupted one does not count, and after Ctrl-C the
new one goes on from its checkpoint. So a checkpoint belongs to a configuration's seed, which all its trials share.
"""

from fer_tune.jobs.observers import Observer
from fer_tune.jobs.outcome import Ended, Plan, RunOutcome, StudyOutcome

__all__ = ["Ended", "Observer", "Plan", "RunOutcome", "StudyOutcome"]
