"""MLflow as a tracker: an experiment for each study, and a run for each job.

It copies to the server or the database that MLFLOW_TRACKING_URI names. Without it, it copies to
`mlflow/` in the storage folder, which `mlflow ui --backend-store-uri` shows.
"""

from __future__ import annotations

import math
import os
import re
import time
from typing import Any
from urllib.parse import quote, unquote

from fer_tune.mirror.tracker import Adapter, Mode, Run, Tracker, asked_for
from fer_tune.settings import Settings, sqlite_url

TAG = "fer_tune.run"
"""The tag that has the id of a run. MLflow chooses ids of its own."""

EPOCH = "epoch"
"""The metric that is written after the others of an epoch. Its steps say which rows are there."""

SECRETS = ("MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN")
"""MLflow's own variables that no log may have."""

FOLDER = "mlflow"
"""Folder in the storage folder, without MLFLOW_TRACKING_URI."""

ARTIFACTS = "artifacts"
"""Folder beside that database for the files of runs."""

LONGEST = 5000
"""Letters of a parameter or a tag. MLflow refuses 6,001, and older servers 5,001."""


class MlflowAdapter(Adapter):
    """Connects the mirror to MLflow."""

    name = "mlflow"
    package = "mlflow"
    install = "pip install 'fer-tune[mlflow]'"
    on_request: Mode | None = "online"

    def mode(self, asked: Mode | None) -> Mode:
        """Returns `online` if FER_TUNE_TRACKERS names mlflow, or MLFLOW_TRACKING_URI is set."""
        return asked or ("online" if asked_for(self.name) or os.environ.get("MLFLOW_TRACKING_URI") else "disabled")

    def place(self, settings: Settings, mode: Mode) -> str:
        """Returns the server or the database, as `mlflow ui --backend-store-uri` takes it."""
        return self.redact(_uri(settings))

    def connect(self, settings: Settings, mode: Mode) -> Tracker:
        """Returns runs on the server, or in the database of the storage folder."""
        if os.environ.get("MLFLOW_TRACKING_URI"):
            return MlflowRuns(_uri(settings))
        folder = (settings.root / FOLDER).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        return MlflowRuns(_uri(settings), (folder / ARTIFACTS).as_uri())

    def environment(self) -> dict[str, str | None]:
        """Returns variables that keep MLflow from asking and from reporting."""
        return {"MLFLOW_DISABLE_TELEMETRY": "true", "GIT_PYTHON_REFRESH": "quiet"}

    def redact(self, text: str) -> str:
        """Returns `text` without passwords and tokens of the server."""
        secrets = [os.environ.get(name) for name in SECRETS]
        if found := re.search(r"//[^/@:]*:([^/@]+)@", os.environ.get("MLFLOW_TRACKING_URI", "")):
            secrets += [found[1], unquote(found[1])]
        for secret in filter(None, secrets):
            text = text.replace(secret, "***")
        return text


def _uri(settings: Settings) -> str:
    """Returns the server, or the database below the storage folder."""
    return os.environ.get("MLFLOW_TRACKING_URI") or sqlite_url((settings.root / FOLDER).resolve() / "mlflow.db")


class MlflowRuns:
    """Brings runs to MLflow, each row once.

    Args:
        artifacts: where the files of runs go; None leaves that to the server. Without a server,
            MLflow's own choice is the working folder.
    """

    live = True

    def __init__(self, uri: str, artifacts: str | None = None) -> None:
        from mlflow.tracking import MlflowClient

        self._client: Any = MlflowClient(uri)
        self._artifacts = artifacts
        self._experiments: dict[str, str] = {}

    def bring(self, run: Run) -> None:
        """Writes the rows that MLflow does not have, and ends the run if it is over.

        Raises:
            mlflow.exceptions.MlflowException: the server does not answer, or refuses.
        """
        there = self._find(run) or self._begin(run)
        key = there.info.run_id
        known = {one.step for one in self._client.get_metric_history(key, EPOCH)}
        for row in run.history:
            if int(row[EPOCH]) not in known:
                self._write(key, {name: value for name, value in row.items() if name != EPOCH}, int(row[EPOCH]))
                self._write(key, {EPOCH: row[EPOCH]}, int(row[EPOCH]))
        self._describe(key, there, run)
        if run.over:
            for bundle in run.bundles:
                for file in bundle.files:
                    self._client.log_artifact(key, str(file), artifact_path=bundle.type)
            self._client.set_terminated(key, "FAILED" if run.failed else "FINISHED")

    def left(self, ids: set[str]) -> set[str]:
        """Returns nothing: no run is written elsewhere."""
        return set()

    def close(self) -> None:
        """Does nothing: a run that is not over stays open for the next mirror."""

    def _find(self, run: Run) -> Any:
        found = self._client.search_runs([self._experiment(run.group)], f"tags.`{TAG}` = '{run.id}'", max_results=1)
        return found[0] if found else None

    def _begin(self, run: Run) -> Any:
        tags = {TAG: run.id, "fer_tune.job_type": run.job_type}
        return self._client.create_run(self._experiment(run.group), run_name=run.name, tags=tags)

    def _experiment(self, name: str) -> str:
        if name not in self._experiments:
            there = self._client.get_experiment_by_name(name)
            where = None if self._artifacts is None else f"{self._artifacts}/{quote(name)}"
            self._experiments[name] = (
                self._client.create_experiment(name, where) if there is None else there.experiment_id
            )
        return self._experiments[name]

    def _describe(self, key: str, there: Any, run: Run) -> None:
        """Writes hyperparameters, tags and the summary. A parameter cannot be written twice."""
        from mlflow.entities import Param

        known = there.data.params
        new = [Param(name, str(value)[:LONGEST]) for name, value in run.config.items() if name not in known]
        if new:
            self._client.log_batch(key, params=new)
        for word in run.tags:
            self._client.set_tag(key, _key(word), "true")
        numbers = {name: value for name, value in run.summary.items() if _is_number(value)}
        if run.over and "summary_state" not in there.data.tags:
            self._write(key, {f"summary/{name}": value for name, value in numbers.items()}, 0)
        for name in run.summary.keys() - numbers.keys() if run.over else ():
            self._client.set_tag(key, f"summary_{name}", str(run.summary[name])[:LONGEST])
        if "best" in there.data.tags and "best" not in run.tags:
            self._client.delete_tag(key, "best")  # another trial is better now

    def _write(self, key: str, row: dict[str, float], step: int) -> None:
        from mlflow.entities import Metric

        now = int(1000 * time.time())
        self._client.log_batch(
            key, metrics=[Metric(_key(name), float(value), now, step) for name, value in row.items()]
        )


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _key(name: str) -> str:
    """Returns a name with the characters that MLflow allows."""
    return re.sub(r"[^\w\-. :/]", "_", name)
