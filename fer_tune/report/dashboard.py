"""optuna-dashboard with notes and pictures.

Nothing is written for them: neither the run, whose one process has trials to serve, nor the dashboard, which only
reads, would be the place. The dashboard is given a storage that adds the notes to what Optuna's says, and
an artifact store that draws a picture when it is looked at. What a user writes in the dashboard goes before ours.
"""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from optuna.artifacts import FileSystemArtifactStore
from optuna.storages import RDBStorage

from fer_tune.errors import StudyError
from fer_tune.report.figures import curve_png
from fer_tune.report.notes import study_note, trial_note
from fer_tune.settings import Settings
from fer_tune.store import Store, StudyRecord
from fer_tune.store.engine import engine_options, parse_url, tune
from fer_tune.study import trials
from fer_tune.study.storage import optuna_storage
from fer_tune.study.tally import State

if TYPE_CHECKING:
    from optuna.study._frozen import FrozenStudy

FINISHED: tuple[State, ...] = ("complete", "pruned", "failed", "requeued")

CURVES, CONFUSION = "c0", "cf"
"""Pictures of a trial; the dashboard's addresses of artifacts have hexadecimal digits only."""

FILES = {CURVES: "learning curves.png", CONFUSION: "confusion matrix.png"}
RETRAINED = "retrain confusion_png"
"""The kind of artifact that a retrain leaves its confusion matrix under."""


def application(store: Store, settings: Settings) -> Any:
    """The dashboard on the store's database, as a WSGI application."""
    from optuna_dashboard import wsgi

    uploads = settings.artifacts / "dashboard"
    uploads.mkdir(parents=True, exist_ok=True)
    return wsgi(AnnotatedStorage(store), artifact_store=Pictures(store, uploads))


def study_id(store: Store, study: str) -> int:
    """The number under which the dashboard shows a study."""
    try:
        return optuna_storage(store).get_study_id_from_name(store.study(study).name)
    except KeyError as error:
        raise StudyError(f"The trials of the study {study} are not in {store.shown}.", "They were deleted.") from error


class AnnotatedStorage(RDBStorage):
    """Optuna's storage, whose studies carry notes and pictures beside what the database holds."""

    def __init__(self, store: Store) -> None:
        optuna_storage(store)  # says what is wrong with a database that Optuna cannot read
        super().__init__(store.url, engine_kwargs=engine_options(parse_url(store.url)))
        tune(self.engine)
        self.engine.dispose()  # connections made before the pragmas were asked for
        self._store = store
        self._notes: dict[tuple[str, int], str] = {}

    def get_study_system_attrs(self, study_id: int) -> dict[str, Any]:
        attrs = super().get_study_system_attrs(study_id)
        return self._annotated(study_id, self.get_study_name_from_id(study_id), attrs)

    def get_all_studies(self) -> list[FrozenStudy]:
        studies = super().get_all_studies()
        for study in studies:
            study.system_attrs = self._annotated(study._study_id, study.study_name, study.system_attrs)
        return studies

    def _annotated(self, study_id: int, name: str, attrs: dict[str, Any]) -> dict[str, Any]:
        """What optuna-dashboard finds its notes and artifacts in (its `_note.py` and `artifact/_backend.py`)."""
        record = self._store.find_study(name)
        if record is None:  # a study that fer-tune did not make
            return attrs
        ours = _note("dashboard:", study_note(record))
        confused = {file.number for file in self._store.artifacts(name) if file.kind == RETRAINED}
        ids = {trial.number: trial._trial_id for trial in self.get_all_trials(study_id, deepcopy=False)}
        for number, note in self._trial_notes(name).items():
            if number in ids:
                ours |= _note(f"dashboard:{ids[number]}:", note)
                for kind in (CURVES, CONFUSION) if number in confused else (CURVES,):
                    artifact = Picture(record.uid, number, kind)
                    ours[f"dashboard:artifacts:{ids[number]}:{artifact}"] = artifact.described()
        return {key: value for key, value in ours.items() if not _written_by_user(key, attrs)} | attrs

    def _trial_notes(self, study: str) -> dict[int, str]:
        """By number; a trial that has ended is read once."""
        ended = trials(self._store, study, states=FINISHED)
        if any((study, trial.number) not in self._notes for trial in ended):
            curves = self._store.curves(study)
            attempts = self._store.attempts(study)
            for trial in ended:
                own = [attempt for attempt in attempts if attempt.number == trial.number]
                self._notes[study, trial.number] = trial_note(trial, curves.get(trial.number, []), own)
        return {trial.number: self._notes[study, trial.number] for trial in ended}


@dataclass(frozen=True)
class Picture:
    """A picture of a trial; as text, its artifact's id."""

    uid: str
    number: int
    kind: str

    def __str__(self) -> str:
        return f"{self.uid}-{self.number:04x}-{self.kind}"

    def described(self) -> str:
        """As Optuna describes an artifact."""
        return json.dumps(
            {"artifact_id": str(self), "filename": FILES[self.kind], "mimetype": "image/png", "encoding": None}
        )


class Pictures:
    """The dashboard's artifact store: our pictures are drawn when asked for, all else lies in a folder."""

    def __init__(self, store: Store, uploads: Path) -> None:
        self._store = store
        self._uploads = FileSystemArtifactStore(uploads)
        self._drawing = threading.Lock()  # matplotlib draws in one thread at a time

    def open_reader(self, artifact_id: str) -> BinaryIO:
        """The content of an artifact."""
        uid, _, rest = artifact_id.partition("-")
        number, _, kind = rest.partition("-")
        record = next((study for study in self._store.studies() if study.uid == uid), None)
        if record is None or kind not in FILES:
            return self._uploads.open_reader(artifact_id)
        return BytesIO(self._draw(record, int(number, 16), kind))

    def write(self, artifact_id: str, content_body: BinaryIO) -> None:
        """Keeps what a user uploads."""
        self._uploads.write(artifact_id, content_body)

    def remove(self, artifact_id: str) -> None:
        """Removes what a user uploaded; there is nothing of ours to remove."""
        self._uploads.remove(artifact_id)

    def _draw(self, record: StudyRecord, number: int, kind: str) -> bytes:
        if kind == CONFUSION:
            files = [file for file in self._store.artifacts(record.name, number) if file.kind == RETRAINED]
            return self._store.artifact_path(files[-1]).read_bytes()
        rows = self._store.curves(record.name, number).get(number, [])
        with self._drawing:
            return curve_png(rows, f"{record.name}, trial {number}")


def _note(prefix: str, body: str) -> dict[str, Any]:
    return {f"{prefix}note_ver": 1, f"{prefix}note_str:0": body}


def _written_by_user(key: str, attrs: dict[str, Any]) -> bool:
    """Whether the note that `key` is a part of lies in the database, or a picture was deleted."""
    return key in attrs or key.replace("note_str:0", "note_ver") in attrs
