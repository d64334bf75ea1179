"""What a tracker is to the mirror: somewhere that runs can be copied to.

The mirror's core knows `Run` and `Tracker` only. To add a tracker:

1. Write a module with a class that has `Tracker`'s methods, and a subclass of `Adapter` that
   connects it. Import the tracker's library in `connect`. `tensorboard_tracker.py` is an example.
2. In a package of your own, name the subclass in the group `fer_tune.trackers` of the entry points:

       [project.entry-points."fer_tune.trackers"]
       mine = "my_package.tracker:MyAdapter"

   In fer-tune, name it in `OWN` in `mirror/trackers.py`, which is the same.
3. If it has a library, add that to `LIBRARIES` in tests/test_rooms.py.

Every run then starts a mirror for it, unless the adapter's `mode` is `disabled`. The mirror keeps a
cursor for each job and tracker, copies each row once, and tries again whatever failed.
`fer-tune sync --tracker NAME` copies the rest. `--wandb` sets the mode of wandb alone. But a job
that ran with `--wandb disabled` goes to no tracker.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from fer_tune.settings import Settings

Mode = Literal["online", "offline", "disabled"]
"""Copy to a server, copy to files, or copy nothing."""

Jobs = Literal["allowed", "all"]
"""Copy the jobs that trackers may have, or also those that ran with `--wandb disabled`."""


@dataclass(frozen=True)
class Bundle:
    """Files that become one artifact of a tracker."""

    name: str
    type: str
    files: tuple[Path, ...]


@dataclass(frozen=True)
class Run:
    """What a tracker must know about one job by now.

    Attributes:
        job: its uid.
        id: unique in the tracker's project, and the same whenever the run is read.
        history: one mapping for each epoch, with `epoch` in it, rising.
        at: attempt and epoch of the last row; (0, 0) while there is none.
        over: nothing will be added.
        bundles: artifacts that belong to the run once it is over.
    """

    job: str
    id: str
    name: str
    group: str
    job_type: str
    tags: tuple[str, ...]
    config: dict[str, Any]
    history: tuple[dict[str, float], ...]
    summary: dict[str, Any]
    at: tuple[int, int] = (0, 0)
    over: bool = True
    failed: bool = False
    bundles: tuple[Bundle, ...] = ()


def asked_for(name: str) -> bool:
    """Returns whether FER_TUNE_TRACKERS names a tracker, as in `mlflow,tensorboard`."""
    return name in all_asked_for()


def all_asked_for() -> list[str]:
    """Returns the names in FER_TUNE_TRACKERS, whether there are such trackers or not."""
    return [word.strip() for word in os.environ.get("FER_TUNE_TRACKERS", "").split(",") if word.strip()]


class Tracker(Protocol):
    """Takes runs: a server, files, or a test's list.

    Attributes:
        live: whether it takes a run while the run's job is still training.
    """

    live: bool

    def bring(self, run: Run) -> None:
        """Makes the tracker's copy equal to `run`. If the run is over, the copy is then safe.

        It may be called any number of times with the same run. Each row must then be there once.
        """
        ...

    def left(self, ids: set[str]) -> set[str]:
        """Returns the runs among `ids` that were written elsewhere and belong here too."""
        ...

    def close(self) -> None:
        """Leaves the runs that are not over, so that another mirror may continue them."""
        ...


class Adapter:
    """Connects the mirror to one kind of tracker. A subclass overrides what its tracker needs.

    Attributes:
        name: key in `TRACKERS`, and of the cursors in the database.
        package: the Python package that it needs, or an empty text.
        install: the command that installs it, if that is not `pip install PACKAGE`.
        on_request: the mode of `fer-tune sync --tracker NAME` where `mode` says `disabled`. None
            refuses it.
    """

    name: str
    package: str = ""
    install: str = ""
    on_request: Mode | None = None

    def mode(self, asked: Mode | None) -> Mode:
        """Returns the mode that the user asked for, else the one that the environment allows.

        Return `disabled` for a tracker that the user has not set up: each run asks.
        """
        return asked or "online"

    def place(self, settings: Settings, mode: Mode) -> str:
        """Returns where the copy will be in that mode, in words for the user."""
        return mode

    def trouble(self, timeout: float) -> str:
        """Returns why the tracker's server cannot be reached now, or an empty text."""
        return ""

    def connect(self, settings: Settings, mode: Mode) -> Tracker:
        """Returns a tracker that takes runs in `online` or `offline` mode."""
        raise NotImplementedError

    def environment(self) -> dict[str, str | None]:
        """Returns environment variables for the mirror's process. None removes one."""
        return {}

    def redact(self, text: str) -> str:
        """Returns `text` without the tracker's keys."""
        return text

    def clean_logs(self, settings: Settings, *logs: Path) -> None:
        """Takes the tracker's keys out of `logs` and of its own logs. Nobody writes them now."""
