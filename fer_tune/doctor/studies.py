"""Each study: its two halves, ours and Optuna's; what runs without a process that runs it; its faces."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from fer_tune.data.access import open_search
from fer_tune.data.spec import DataRef
from fer_tune.doctor.database import Known
from fer_tune.doctor.findings import Finding, many, note, ok, problem, some
from fer_tune.errors import DataError, FerTuneError
from fer_tune.settings import Settings
from fer_tune.store import StudyLock


def studies(settings: Settings, known: Known) -> Iterator[Finding]:
    """What is to be said of each study; one line if that is nothing."""
    for name in known.studies:
        found = [*_halves(name, known), *_running(settings, name, known), *_faces(settings, known.studies[name])]
        if all(finding.state == "ok" for finding in found):
            holder = run_by(settings, name)
            told = f"process {holder} runs it" if holder else "nothing runs it"
            trials = many(len(known.trials.get(name, ())), "trial", "trials")
            yield ok(f"study {name}", f"{trials}; attempts, faces and split belong together; {told}")
        else:
            yield from found


def run_by(settings: Settings, study: str) -> int | None:
    """The process on this machine that runs a study."""
    try:
        holder = StudyLock(settings, settings.url, study).holder()
        return holder.pid if holder else None
    except FerTuneError:
        return None


def _halves(name: str, known: Known) -> Iterator[Finding]:
    what = f"study {name}"
    numbers = {trial.number for trial in known.trials.get(name, ())}
    tried = {row["number"] for row in known.attempts[name]}
    if name not in known.trials and tried:
        yield problem(
            what,
            "Optuna's trials of it were deleted, its attempts and epochs were not",
            "Restore a backup, or run its sweep under another name: --set study=NAME.",
        )
        return
    for rows, kept in ((known.attempts[name], "attempts"), (_files(name, known), "artifacts")):
        if orphans := sorted({row["number"] for row in rows} - numbers):
            yield problem(
                what,
                f"{kept} of {many(len(orphans), 'trial that is', 'trials that are')} not there: {some(orphans)}",
                "The trials were deleted by hand. Restore a backup, or leave it so: nothing reads what is left.",
            )


def _files(name: str, known: Known) -> list[dict[str, Any]]:
    """The artifacts of a study's trials."""
    return [row for row in known.artifacts if row["study"] == name and row["number"] is not None]


def _running(settings: Settings, name: str, known: Known) -> Iterator[Finding]:
    if run_by(settings, name):
        return
    running = [trial.number for trial in known.trials.get(name, ()) if trial.state == "RUNNING"]
    attempts = [row["number"] for row in known.attempts[name] if row["ended"] is None]
    if running or attempts:
        told = f"{many(len({*running, *attempts}), 'trial is', 'trials are')} marked as running"
        yield problem(
            f"study {name}",
            f"{told} ({some(sorted({*running, *attempts}))}), and no process on this machine runs the study",
            "Run its sweep again, which goes on from their checkpoints; unless another machine runs it now.",
        )


def _faces(settings: Settings, row: dict[str, Any]) -> Iterator[Finding]:
    what = f"study {row['name']}"
    if row["split_path"] is None:
        return  # its split's row is gone, which the keys have said
    place = settings.root / row["data_cache"]
    if not place.exists():
        yield note(what, f"its faces are not in the cache ({place})", "The next `fer-tune run` reads them again.")
        return
    try:
        open_search(DataRef(place, row["data_signature"], settings.root / row["split_path"], row["split_hash"]))
    except DataError as error:
        yield problem(what, error.message, error.hint or "Run its sweep again: the cache is then rebuilt.")
