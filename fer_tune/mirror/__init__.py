"""The mirror: a process of its own that reads the database and writes wandb runs.

The sweep never waits for it. What it has not copied when it ends, it copies the next time:
the database keeps a cursor for each trial. Nothing here imports wandb but `runs.py`.
"""

from fer_tune.mirror.mode import Mode, choose_mode
from fer_tune.mirror.process import MirrorHandle, start

__all__ = ["MirrorHandle", "Mode", "choose_mode", "start"]
