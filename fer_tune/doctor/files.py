"""What lies under storage/, against what the database says of it."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, cast

import psutil

from fer_tune.doctor.database import Known
from fer_tune.doctor.findings import Finding, many, note, ok, problem, size, some
from fer_tune.doctor.studies import run_by
from fer_tune.errors import StorageError
from fer_tune.settings import Settings
from fer_tune.store.artifact_paths import inside, sha256
from fer_tune.study.trial_states import place_of

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

ROOM = 1 << 30
"""Bytes that should be free: a database of 10,000 trials with models and checkpoints takes less."""

UPLOADS = "dashboard"
"""Folder below artifacts/ of what users upload in optuna-dashboard; Optuna keeps the record."""

WRITING = 600.0
"""Seconds in which a file that is being written appears whole, or is not being written any more."""

UNFINISHED = ("RUNNING", "WAITING")


def folder(settings: Settings) -> Iterator[Finding]:
    """The storage folder: there, writable, with room."""
    root = settings.root.absolute()
    if not root.exists():
        nearest = next(parent for parent in root.parents if parent.exists())
        if os.access(nearest, os.W_OK):
            yield note("folder", f"{root} is not there yet; the first run makes it")
        else:
            yield problem("folder", f"{root} is not there, and {nearest} may not be written", _WRITABLE)
        return
    if not root.is_dir():
        yield problem("folder", f"{root} is no folder", "Move the file away, or set FER_TUNE_DIR to a folder.")
        return
    closed = [place for place in (root, *_folders(settings)) if place.is_dir() and not os.access(place, os.W_OK)]
    if closed:
        yield problem("folder", f"may not be written: {some(closed)}", _WRITABLE)
    else:
        yield ok("folder", f"{root} may be written")
    free = shutil.disk_usage(root).free
    if free < ROOM:
        yield problem("free space", size(free), "Free some space, or set FER_TUNE_DIR to another disk.")
    else:
        yield ok("free space", size(free))


_WRITABLE = "Give yourself the right to write there, or set FER_TUNE_DIR to another folder."


def _folders(settings: Settings) -> tuple[Path, ...]:
    return (settings.artifacts, settings.checkpoints, settings.cache, settings.locks, settings.logs, settings.wandb)


def files(settings: Settings, known: Known) -> Iterator[Finding]:
    """Artifacts, checkpoints, locks, and what was set aside or left behind."""
    if not settings.root.is_dir():
        return
    if known.whole:
        yield from _artifacts(settings, known)
        yield from _unrecorded(settings, known)
        yield from _checkpoints(settings, known)
    yield from _locks(settings, known)
    yield from _set_aside(settings)
    yield from _drafts(settings)


def _artifacts(settings: Settings, known: Known) -> Iterator[Finding]:
    gone, changed, outside = [], [], []
    for record in known.artifacts:
        try:
            place = settings.root / inside(settings.root, settings.root / record["path"])
        except StorageError:
            outside.append(record["path"])
            continue
        try:
            if not place.is_file():
                gone.append(record["path"])
            elif sha256(place)[0] != record["sha256"]:
                changed.append(record["path"])
        except StorageError:
            changed.append(record["path"])
    total = len(known.artifacts)
    if gone:
        told = f"{many(len(gone), 'recorded file is', 'recorded files are')} missing: {some(gone)}"
        yield problem("artifacts", told, "Restore them from a backup, or make them again with `fer-tune retrain`.")
    if changed:
        told = f"{many(len(changed), 'file differs', 'files differ')} from what was recorded (sha256): {some(changed)}"
        yield problem("artifacts", told, "Do not use them; restore them, or make them again with `fer-tune retrain`.")
    if outside:
        told = f"{many(len(outside), 'record leads', 'records lead')} out of the storage folder: {some(outside)}"
        yield problem("artifacts", told, "fer-tune writes no such record and opens none: find out who did.")
    if not gone and not changed and not outside:
        yield ok("artifacts", f"{many(total, 'file, as it was', 'files, as they were')} recorded (sha256)")


def _unrecorded(settings: Settings, known: Known) -> Iterator[Finding]:
    """Files below artifacts/ that no record names; those of trials that are running come to be recorded."""
    recorded = {record["path"] for record in known.artifacts}
    unknown = [
        path
        for path in _below(settings.artifacts)
        if path.relative_to(settings.root).as_posix() not in recorded
        and path.relative_to(settings.artifacts).parts[0] != UPLOADS
        and not _draft(path)
        and not _of_running(path.relative_to(settings.artifacts), settings, known)
    ]
    if unknown:
        sizes = size(sum(path.stat().st_size for path in unknown))
        told = f"{many(len(unknown), 'file that no record names', 'files that no record names')}, {sizes}"
        yield problem(
            "artifacts",
            f"{told}: {some([path.relative_to(settings.root) for path in unknown])}",
            "A killed run or another database may have left them; delete what you do not need.",
        )


def _of_running(path: Path, settings: Settings, known: Known) -> bool:
    """Whether a file may be of a trial or retrain that goes on now."""
    if time.time() - (settings.artifacts / path).stat().st_mtime < WRITING and path.parent.name.startswith("retrain-"):
        return True
    study = path.parts[0]
    if study not in known.studies or not run_by(settings, study):
        return False
    running = {f"trial-{trial.number:05d}" for trial in known.trials.get(study, ()) if trial.state == "RUNNING"}
    return len(path.parts) > 1 and path.parts[1] in running


def _checkpoints(settings: Settings, known: Known) -> Iterator[Finding]:
    """Checkpoints from which no trial will go on."""
    found = [path for path in _below(settings.checkpoints) if path.suffix == ".safetensors" and not _draft(path)]
    wanted = {place for name in known.studies for place in _wanted(settings, name, known)}
    stray = [path for path in found if path not in wanted]
    if stray:
        told = f"{many(len(stray), 'file', 'files')} from which no trial will go on, "
        told += size(sum(path.stat().st_size for path in stray))
        yield problem(
            "checkpoints",
            f"{told}: {some([path.relative_to(settings.root) for path in stray])}",
            "Delete them; unless another database shares this folder.",
        )
    else:
        yield ok("checkpoints", "each is of a trial that will go on" if found else "none")


def _wanted(settings: Settings, name: str, known: Known) -> Iterator[Path]:
    """Where trials that run or wait have their checkpoints; the seed that names them follows from their place."""
    study = known.studies[name]
    trials = known.trials.get(name, [])
    placed = cast("list[FrozenTrial]", trials)  # they have what it asks for: number and user_attrs
    for trial in trials:
        if trial.state in UNFINISHED:
            seed = (int(study["sweep_json"].get("seed", 0)) + place_of(placed, trial.number)) % 2**32
            yield settings.checkpoints / f"{name}-{study['uid']}" / f"{seed}.safetensors"


def _locks(settings: Settings, known: Known) -> Iterator[Finding]:
    """Locks that a killed process left; the operating system has released them."""
    held = {study for study in known.studies if run_by(settings, study)}
    stale = []
    for path in _below(settings.locks):
        try:
            holder = json.loads(path.read_text())
            dead = holder["study"] not in held and not psutil.pid_exists(int(holder["pid"]))
        except (OSError, ValueError, KeyError, TypeError):
            continue  # empty: released
        if dead:
            stale.append(f"{holder['study']} (process {holder['pid']})")
    if stale:
        told = f"left by {many(len(stale), 'process that is', 'processes that are')} gone: {some(stale)}"
        yield note("locks", told, "Nothing: they hold nobody up, and the next run takes them over.")
    else:
        yield ok("locks", f"{many(len(held), 'study is', 'studies are')} being run")


def _set_aside(settings: Settings) -> Iterator[Finding]:
    aside = [path.relative_to(settings.root) for path in _below(settings.root) if path.suffix == ".torn"]
    if aside:
        told = f"{many(len(aside), 'file was', 'files were')} not to be trusted and set aside: {some(aside)}"
        yield note("set aside", told, "Nothing reads them: look at them, then delete them.")


def _drafts(settings: Settings) -> Iterator[Finding]:
    """What a process that was killed while it wrote left beside the file's place."""
    left = [path for path in _below(settings.root) if _draft(path) and time.time() - path.stat().st_mtime > WRITING]
    if left:
        names = some([path.relative_to(settings.root) for path in left])
        told = f"{many(len(left), 'half-written file', 'half-written files')} of a killed process: {names}"
        yield note("drafts", told, "Nothing reads them: delete them.")


def _draft(path: Path) -> bool:
    """Whether `files.replace_file` or the cache names drafts like this."""
    return any(part.startswith(".") for part in (path.name, path.parent.name)) and path.name != ".gitignore"


def _below(place: Path) -> list[Path]:
    """All files below a folder, sorted; links are not followed. wandb's own folder is wandb's."""
    found = []
    for parent, folders, names in os.walk(place):
        folders[:] = [name for name in folders if not (name == "wandb" and Path(parent) == place)]
        found += [Path(parent, name) for name in names if Path(parent, name).is_file()]
    return sorted(found)
