"""wandb as a tracker.

    environment.py  what this machine says of wandb: mode, server, keys
    client.py       how wandb is asked for a run
    online.py       runs on wandb's server, row by row
    offline.py      runs as wandb's files, each written whole

Only the last three import wandb, which takes half a second.
"""

from __future__ import annotations

from pathlib import Path

from fer_tune.mirror.tracker import Adapter, Mode, Tracker
from fer_tune.mirror.wandb_tracker import environment
from fer_tune.settings import Settings

__all__ = ["WandbAdapter"]

NOT_OURS = ("WANDB_RUN_ID", "WANDB_RESUME", "WANDB_SWEEP_ID", "WANDB_MODE")
"""Variables that would tell wandb which run to write. The mirror chooses the run."""


class WandbAdapter(Adapter):
    """Connects the mirror to wandb, online or offline."""

    name = "wandb"
    package = "wandb"

    def mode(self, asked: Mode | None) -> Mode:
        """Returns the mode asked for, else the one that the environment allows."""
        return environment.choose_mode(asked)

    def place(self, settings: Settings, mode: Mode) -> str:
        """Returns the project and the server, or the folder of the offline files."""
        if mode == "offline":
            return f"offline files in {settings.wandb}"
        return f"project {environment.project()} on {environment.base_url()}"

    def trouble(self, timeout: float) -> str:
        """Returns why wandb's server cannot be reached. Asking wandb itself would take minutes."""
        return environment.trouble(timeout)

    def connect(self, settings: Settings, mode: Mode) -> Tracker:
        """Returns runs on wandb's server, or runs as files below `settings.wandb`."""
        if mode == "online":
            from fer_tune.mirror.wandb_tracker.online import OnlineRuns

            return OnlineRuns(settings.root)
        from fer_tune.mirror.wandb_tracker.offline import OfflineRuns

        return OfflineRuns(settings.root)

    def environment(self) -> dict[str, str | None]:
        """Returns wandb's variables as the mirror needs them."""
        return {"WANDB_SILENT": "true"} | dict.fromkeys(NOT_OURS)

    def redact(self, text: str) -> str:
        """Returns `text` without any of wandb's keys."""
        return environment.redact(text)

    def clean_logs(self, settings: Settings, *logs: Path) -> None:
        """Takes the keys out of `logs` and of wandb's own logs, which repeat its server."""
        environment.clean((*logs, *settings.wandb.glob("run-*/logs/*.log")))
