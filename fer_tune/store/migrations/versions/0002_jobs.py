"""Upgrade from format 1 to 2: rows belong to jobs, which have uids of their own.

Format 1 named a trial by its study and its number. An interrupted trial continued under another
number; both become attempts at one job. Final fits had files and no rows. They become jobs too, and
their epochs come from their files. Format 1 did not record which trials trackers may copy. So
trackers may copy the jobs that the mirror had already begun to copy.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import sqlalchemy as sa
from alembic import context, op

revision = "0002"
down_revision = None

FER2013 = {
    "classes": ["angry", "disgust", "fear", "happy", "sad", "surprise", "neutral"],
    "side": 48,
    "channels": 1,
}
"""Description of the images. In format 1, all images were like this."""

MEASURES = (
    "train_loss, train_accuracy, val_loss, val_accuracy, val_macro_f1, val_balanced_accuracy, recall, lr, seconds, "
    "images_per_second"
)

JSON_COLUMNS = ("params", "origin", "notes", "recall")

STATES = {"COMPLETE": "complete", "PRUNED": "pruned", "FAIL": "failed", "RUNNING": "running", "WAITING": "queued"}


class OldTrial(NamedTuple):
    """A trial, from Optuna's tables."""

    state: str
    value: float | None
    attrs: dict[str, Any]


def upgrade() -> None:
    """Creates the new tables, fills them from the old ones, and drops the old ones."""
    tx = op.get_bind()
    # Not in batch mode: it would drop the old table of studies, and with it all rows that refer to
    # it.
    spec = sa.Column("data_spec", sa.JSON, nullable=False, server_default=json.dumps(FER2013))
    op.add_column("fer_studies", spec)
    _create()
    for study in tx.execute(sa.text("select * from fer_studies")).mappings().all():
        _OldStudy(tx, dict(study)).convert()
    for old in ("fer_mirror_cursors", "fer_ledger", "fer_artifacts", "fer_epochs", "fer_attempts"):
        op.drop_table(old)
    for table in ("attempts", "epochs", "artifacts", "ledger"):
        op.rename_table(f"fer_new_{table}", f"fer_{table}")
    op.create_index("fer_artifacts_of_job", "fer_artifacts", ["job_id"])
    op.create_index("fer_ledger_of_split", "fer_ledger", ["split_hash"])
    tx.execute(sa.text("update fer_schema set version = 2"))


def _create() -> None:
    integer, text, moment = sa.Integer, sa.Text, sa.DateTime
    measure = sa.Float(precision=53)

    def column(name: str, kind: Any, nullable: bool = False, **more: Any) -> sa.Column[Any]:
        return sa.Column(name, kind, nullable=nullable, **more)

    def study() -> sa.Column[Any]:
        return sa.Column("study_id", integer, sa.ForeignKey("fer_studies.id", ondelete="CASCADE"), nullable=False)

    def job(key: bool = False) -> sa.Column[Any]:
        return sa.Column(
            "job_id", integer, sa.ForeignKey("fer_jobs.id", ondelete="CASCADE"), primary_key=key, nullable=not key
        )

    op.create_table(
        "fer_jobs",
        sa.Column("id", integer, primary_key=True),
        column("uid", sa.String(32), unique=True),
        study(),
        column("kind", sa.String(16)),
        column("number", integer, True),
        column("name", text, True),
        column("params", sa.JSON),
        column("seed", sa.BigInteger),
        column("schedule", integer),
        column("until", integer, True),
        column("fit", sa.String(16)),
        column("state", sa.String(16)),
        column("reason", text),
        column("value", measure, True),
        column("mirrored", sa.Boolean),
        column("origin", sa.JSON),
        column("created", moment),
        column("ended", moment, True),
    )
    op.create_index("fer_jobs_of_study", "fer_jobs", ["study_id", "kind", "number"])
    op.create_table(
        "fer_new_attempts",
        job(key=True),
        sa.Column("attempt", integer, primary_key=True, autoincrement=False),
        column("worker", integer),
        column("device", sa.String(64)),
        column("started", moment),
        column("ended", moment, True),
        column("status", sa.String(16), True),
        column("reason", text),
        column("detail", text),
        column("parameters", sa.BigInteger),
        column("notes", sa.JSON),
    )
    op.create_table(
        "fer_new_epochs",
        *(sa.Column(name, integer, primary_key=True, autoincrement=False) for name in ("job_id", "attempt", "epoch")),
        *(column(name, sa.JSON) if name == "recall" else column(name, measure, True) for name in MEASURES.split(", ")),
        column("recorded", moment),
        sa.ForeignKeyConstraint(
            ["job_id", "attempt"], ["fer_new_attempts.job_id", "fer_new_attempts.attempt"], ondelete="CASCADE"
        ),
    )
    op.create_table(
        "fer_new_artifacts",
        sa.Column("id", integer, primary_key=True),
        study(),
        job(),
        column("kind", sa.String(64)),
        column("path", sa.String(1024)),
        column("sha256", sa.String(64)),
        column("bytes", sa.BigInteger),
        column("created", moment),
        sa.UniqueConstraint("study_id", "path"),
    )
    op.create_table(
        "fer_new_ledger",
        sa.Column("id", integer, primary_key=True),
        study(),
        job(),
        sa.Column("split_hash", sa.String(64), sa.ForeignKey("fer_splits.hash"), nullable=False),
        column("purpose", text),
        column("opened", moment),
    )
    op.create_table(
        "fer_cursors",
        job(key=True),
        sa.Column("tracker", sa.String(32), primary_key=True),
        column("run", sa.String(128)),
        column("attempt", integer),
        column("epoch", integer),
        column("finished", sa.Boolean),
    )


class _OldStudy:
    """Converts one study of format 1."""

    def __init__(self, tx: sa.Connection, record: dict[str, Any]) -> None:
        self.tx, self.id, self.uid, self.name = tx, record["id"], record["uid"], record["name"]
        self.sweep: dict[str, Any] = _json(record["sweep_json"])
        self.split_hash = record["split_hash"]
        self.attempts = self._rows("select * from fer_attempts where study_id = :id order by number, attempt")
        self.trials = self._optuna()

    def convert(self) -> None:
        """Creates the study's jobs, and moves its rows to them."""
        jobs = dict(self._search_jobs())
        self._move_artifacts(jobs)
        self._final_jobs(jobs)
        for row in self._rows("select * from fer_mirror_cursors where study_id = :id"):
            if row["number"] in jobs:
                self._run("update fer_jobs set mirrored = :yes where id = :job", yes=True, job=jobs[row["number"]])
                values = {name: row[name] for name in ("run", "attempt", "epoch", "finished")}
                self._insert("fer_cursors", job_id=jobs[row["number"]], tracker="wandb", **values)

    # trials of the search -----------------------------------------------------------------------------------------

    def _search_jobs(self) -> Iterator[tuple[int, int]]:
        """Creates one job for each chain of trials; see `_chains`.

        Yields the number of each trial and the id of its job.
        """
        copied = {row["number"] for row in self._rows("select number from fer_mirror_cursors where study_id = :id")}
        for chain in self._chains():
            attempts = [row for row in self.attempts if row["number"] in chain]
            trial = self.trials.get(chain[-1], OldTrial("failed", None, {}))
            over = trial.state in ("complete", "pruned", "failed")
            job = self._insert(
                "fer_jobs",
                uid=self._uid(f"trial {chain[0]}"),
                study_id=self.id,
                kind="search",
                number=chain[-1],
                name=trial.attrs.get("start"),
                params=trial.attrs.get("params", {}),
                seed=attempts[0]["seed"],
                schedule=int(self.sweep["epochs"]),
                fit="train",
                state=trial.state,
                reason=str(trial.attrs.get("reason", "")),
                value=trial.value if over else None,
                mirrored=chain[0] in copied,
                origin={},
                created=attempts[0]["started"],
                ended=attempts[-1]["ended"] if over else None,
            )
            for place, row in enumerate(attempts):
                self._move_attempt(row, job, place)
            yield from ((number, job) for number in chain)

    def _move_attempt(self, row: dict[str, Any], job: int, place: int) -> None:
        names = ("worker", "device", "started", "ended", "status", "reason", "detail", "parameters")
        values = {name: row[name] for name in names} | {"notes": _json(row["notes"])}
        self._insert("fer_new_attempts", job_id=job, attempt=place, **values)
        self._run(
            f"insert into fer_new_epochs (job_id, attempt, epoch, {MEASURES}, recorded) "
            f"select :job, :place, epoch, {MEASURES}, recorded from fer_epochs "
            "where study_id = :id and number = :number and attempt = :attempt",
            job=job,
            place=place,
            number=row["number"],
            attempt=row["attempt"],
        )

    def _chains(self) -> list[list[int]]:
        """Returns chains of trial numbers: a trial, and the trials that continued it.

        Only trials that had an attempt are in a chain.
        """
        chains: dict[int, list[int]] = {}
        first: dict[int, int] = {}
        for number in sorted({row["number"] for row in self.attempts}):
            trial = self.trials.get(number)
            root = first.get(trial.attrs.get("retry_of", number), number) if trial else number
            first[number] = root
            chains.setdefault(root, []).append(number)
        return list(chains.values())

    def _optuna(self) -> dict[int, OldTrial]:
        """Returns the trials by number, from Optuna's tables; none if the tables were deleted."""
        if not {"studies", "trials"} <= set(sa.inspect(self.tx).get_table_names()):
            return {}
        of_study = "from trials t join studies s on s.study_id = t.study_id"
        attrs: dict[int, dict[str, Any]] = {}
        for row in self._rows(
            f"select t.number, a.key, a.value_json {of_study} join trial_user_attributes a on a.trial_id = t.trial_id "
            "where s.study_name = :name",
            name=self.name,
        ):
            attrs.setdefault(row["number"], {})[row["key"]] = json.loads(row["value_json"])
        rows = self._rows(
            f"select t.number, t.state, v.value {of_study} left join trial_values v on v.trial_id = t.trial_id "
            "where s.study_name = :name",
            name=self.name,
        )
        return {
            row["number"]: OldTrial(STATES[row["state"]], row["value"], attrs.get(row["number"], {})) for row in rows
        }

    # artifacts and final fits -------------------------------------------------------------------------------------

    def _move_artifacts(self, jobs: dict[int, int]) -> None:
        for row in self._rows("select * from fer_artifacts where study_id = :id order by id"):
            if not row["kind"].startswith("retrain "):
                self._put_artifact(row, jobs.get(row["number"]))

    def _put_artifact(self, row: dict[str, Any], job: int | None) -> None:
        names = ("path", "sha256", "bytes", "created")
        kind = row["kind"].removeprefix("retrain ")
        self._insert(
            "fer_new_artifacts", study_id=self.id, job_id=job, kind=kind, **{name: row[name] for name in names}
        )

    def _final_jobs(self, jobs: dict[int, int]) -> None:
        """Creates a job for each folder of a final fit, and moves its entry of the ledger to it."""
        folders: dict[str, list[dict[str, Any]]] = {}
        for row in self._rows("select * from fer_artifacts where study_id = :id order by id"):
            if row["kind"].startswith("retrain "):
                folders.setdefault(row["path"].rpartition("/")[0], []).append(row)
        waiting = self._rows("select * from fer_ledger where study_id = :id order by id")
        places = {entry["id"]: place for place, entry in enumerate(waiting, 1)}
        for folder, files in folders.items():
            job = self._final_job(folder, files)
            for row in files:
                self._put_artifact(row, job)
            mine = next((entry for entry in waiting if entry["number"] == files[0]["number"]), None)
            if mine is not None:
                waiting.remove(mine)
                self._put_opening(mine, job)
                # In format 1, the cursor of a final fit has the position in the ledger, negated.
                jobs[-places[mine["id"]]] = job
        # A fit that was killed, or wrote to another folder, opened test too.
        for entry in waiting:
            self._put_opening(entry, None)

    def _put_opening(self, row: dict[str, Any], job: int | None) -> None:
        values = {name: row[name] for name in ("split_hash", "purpose", "opened")}
        self._insert("fer_new_ledger", study_id=self.id, job_id=job, **values)

    def _final_job(self, folder: str, files: list[dict[str, Any]]) -> int:
        metrics = self._json(folder, "metrics.json") or {}
        number, created = files[0]["number"], files[0]["created"]
        schedule = int(metrics.get("schedule", self.sweep["epochs"]))
        trial = self.trials.get(number, OldTrial("failed", None, {}))
        job = self._insert(
            "fer_jobs",
            uid=self._uid(folder),
            study_id=self.id,
            kind="final",
            params=metrics.get("params", trial.attrs.get("params", {})),
            seed=int(metrics.get("seed", self.sweep.get("seed", 0))),
            schedule=schedule,
            until=metrics.get("epochs"),
            fit="train+val",
            state="complete",
            reason="",
            mirrored=False,
            origin={"trial": number},
            created=created,
            ended=created,
        )
        rows = self._json(folder, "epochs.json") or []
        if rows:
            self._insert(
                "fer_new_attempts",
                job_id=job,
                attempt=0,
                worker=0,
                device="unknown",
                started=created,
                ended=created,
                status="completed",
                reason="",
                detail="",
                parameters=int(metrics.get("parameters", 0)),
                notes=[],
            )
        for row in rows:
            values = {name: row[name] for name in MEASURES.split(", ")}
            self._insert("fer_new_epochs", job_id=job, attempt=0, epoch=row["epoch"], recorded=created, **values)
        return job

    def _json(self, folder: str, name: str) -> Any:
        """Returns the content of a final fit's file, or None if it is missing or damaged."""
        try:
            return json.loads((Path(context.config.attributes["root"]) / folder / name).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None

    # within -------------------------------------------------------------------------------------------------------

    def _uid(self, what: str) -> str:
        return hashlib.sha256(f"{self.uid} {what}".encode()).hexdigest()[:12]

    def _rows(self, query: str, **values: Any) -> list[dict[str, Any]]:
        known = values or {"id": self.id}
        return [dict(row) for row in self.tx.execute(sa.text(query), known).mappings()]

    def _run(self, statement: str, **values: Any) -> None:
        self.tx.execute(sa.text(statement), {"id": self.id, **values})

    def _insert(self, table: str, **values: Any) -> int:
        """Inserts a row. Returns its id if the table is fer_jobs, else 0."""
        columns = (sa.column(name, sa.JSON) if name in JSON_COLUMNS else sa.column(name) for name in values)
        self.tx.execute(sa.insert(sa.table(table, *columns)).values(**values))
        if table != "fer_jobs":
            return 0
        query = sa.text("select id from fer_jobs where uid = :uid").bindparams(uid=values["uid"])
        return int(self.tx.execute(query).scalar_one())


def _json(value: Any) -> Any:
    """Returns the content of a JSON column. SQLite returns it as text, PostgreSQL as an object."""
    return json.loads(value) if isinstance(value, str) else value
