"""The mirror: a process of its own that reads the database and brings wandb's runs up to date.

    mode.py        online, offline or disabled; where wandb's server is
    secrets.py     its keys, kept out of what is written
    network.py     whether it can be reached
    content.py     what a run says of a trial; retrains.py of a final fit
    copying.py     which runs are to be brought, and the cursors that remember it
    online.py      runs on the server, row by row; offline.py as files, whole
    client.py      how wandb is asked for a run
    process.py     the process as its starter sees it; __main__.py as it sees itself; lock.py, one for each study
    sync.py        the same, afterwards and awaited

The sweep never waits for it. What it has not copied when it ends, it copies the next time: the database keeps a cursor
for each run, and wandb's server is asked what it has.
"""

from fer_tune.mirror.mode import Mode, choose_mode
from fer_tune.mirror.process import GRACE, MirrorHandle, start

__all__ = ["GRACE", "MirrorHandle", "Mode", "choose_mode", "start"]
