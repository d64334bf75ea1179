"""Creates a study, or continues it if its sweep, images and split are still the same."""

from __future__ import annotations

import json
import platform
import secrets
import warnings
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import optuna
from optuna.exceptions import ExperimentalWarning
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState

from fer_tune.data.spec import FER2013, DataRef
from fer_tune.errors import StudyError
from fer_tune.store import SplitRecord, Store, StudyRecord
from fer_tune.store.artifact_paths import below
from fer_tune.study.study_storage import StudyStorage
from fer_tune.study.trial_states import BUDGET, START
from fer_tune.study.trial_writes import trials_deleted
from fer_tune.sweep.schema import Budget, Sweep

PACKAGES = ("fer-tune", "torch", "torchvision", "optuna", "numpy")
"""Packages whose versions are recorded with a study."""

KEEP_BOTH = (
    "Undo the change. Or keep both: give the changed sweep another study name "
    "(`study:` in the file, or --set study=NAME)."
)


def settle(sweep: Sweep, store: Store, storage: BaseStorage, data: DataRef, counts: Mapping[str, int]) -> StudyRecord:
    """Returns the record of the sweep's study. Creates the record if it does not exist.

    A study of which no trial was started, such as one that was only planned, becomes the sweep's.

    Args:
        data: the images and the split.
        counts: number of images in each part of the split.

    Raises:
        StudyError: the study was made from another sweep, other images or another split. Or the
            study exists only in our tables, or only in Optuna's.
    """
    record = store.studies.find(sweep.study)
    in_optuna = store.patiently(lambda: _in_optuna(storage, sweep.study))
    if record is None:
        if in_optuna:
            raise StudyError(
                f"{store.shown} has an Optuna study {sweep.study} that fer-tune did not make.",
                "Give this run another study name: --set study=NAME.",
            )
        record = _new_record(sweep, store, data, counts)
        store.studies.add(record)
        return record
    if not in_optuna and store.jobs.attempts(sweep.study):
        raise trials_deleted(sweep.study)
    try:
        _refuse_changes(record, sweep, data)
    except StudyError:
        if _is_begun(store, storage, sweep.study):
            raise
        if in_optuna:
            store.patiently(lambda: storage.delete_study(storage.get_study_id_from_name(sweep.study)))
        store.studies.delete(sweep.study)
        return settle(sweep, store, storage, data, counts)
    return record


def describe(study: optuna.Study, storage: StudyStorage, record: StudyRecord, budget: Budget) -> None:
    """Writes facts for readers such as optuna-dashboard to Optuna's study, if they are missing or
    differ."""
    facts: dict[str, Any] = {
        "family": record.family,
        "objective": record.objective,
        "data": record.data_source,
        "data_signature": record.data_signature,
        "split_hash": record.split.hash,
        "sweep_signature": record.sweep_signature,
        "uid": record.uid,
        BUDGET: budget.model_dump(mode="json"),
    }
    if study.metric_names != [record.objective]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)  # optuna-dashboard shows this name
            study.set_metric_names([record.objective])
    present = study.user_attrs
    storage.set_study_user_attrs({key: value for key, value in facts.items() if present.get(key) != value})


def differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """Returns the differences between two descriptions of sweeps, one line for each.

    A line is such as `space.lr: 0.1, now 0.2`.
    """
    old, new = dict(_flat(before)), dict(_flat(after))
    return [
        f"{key}: {_show(old, key)}, now {_show(new, key)}"
        for key in sorted(old.keys() | new.keys())
        if old.get(key) != new.get(key) or (key in old) != (key in new)
    ]


def refuse_other_sweep(record: StudyRecord, sweep: Sweep) -> None:
    """Refuses a sweep that measures something else than the study's.

    Raises:
        StudyError: they differ. The message says in what.
    """
    if lines := differences(_with_shape(record.sweep_json), json.loads(json.dumps(sweep.describe()))):
        what = "\n".join(f"  {line}" for line in lines)
        raise StudyError(f"The study {record.name} was made by another sweep than {sweep.path}:\n{what}", KEEP_BOTH)


def _refuse_changes(record: StudyRecord, sweep: Sweep, data: DataRef) -> None:
    """Raises StudyError if sweep, images or split differ from those of the study.

    The location of the images may differ.
    """
    name = record.name
    refuse_other_sweep(record, sweep)
    if record.data_signature != data.signature:
        raise StudyError(
            f"The study {name} was made from other images than {sweep.data}: "
            f"their signature is {record.data_signature[:12]}, not {data.signature[:12]}.",
            "Name the original images with --data or FER_TUNE_DATA. They may be in another folder than before. "
            "Or give this run another study name: --set study=NAME.",
        )
    if record.split.hash != data.split_hash:
        raise StudyError(
            f"The study {name} was made with another split: {record.split.hash[:12]}, now {data.split_hash[:12]}.",
            KEEP_BOTH,
        )


def _with_shape(description: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a description of a sweep whose `data` is the shape of the images.

    In older studies, `data` is the path of the images.
    """
    shape = description.get("data")
    return dict(description) | {
        "data": shape if isinstance(shape, dict) else {"side": FER2013.side, "channels": FER2013.channels}
    }


def _new_record(sweep: Sweep, store: Store, data: DataRef, counts: Mapping[str, int]) -> StudyRecord:
    split = SplitRecord(
        hash=data.split_hash,
        data_signature=data.signature,
        path=below(store.root, data.split),
        policy=sweep.split.model_dump(mode="json"),
        counts=dict(counts),
    )
    return StudyRecord(
        name=sweep.study,
        uid=secrets.token_hex(4),
        family=sweep.family,
        objective=sweep.objective,
        sweep_signature=sweep.signature(),
        sweep_text=sweep.text,
        sweep_json=sweep.describe(),
        data_source=sweep.data,
        data_signature=data.signature,
        data_cache=below(store.root, data.cache),
        data_spec=data.spec,
        split=split,
        versions=dict(versions()),
        created=datetime.now(UTC),
    )


@cache
def versions() -> Mapping[str, str]:
    """Returns the versions of Python and of `PACKAGES` by name, without importing them.

    Packages that are not installed are left out. To read one takes a millisecond.
    """
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _is_begun(store: Store, storage: BaseStorage, name: str) -> bool:
    """Returns whether a trial of the study was started, or another program enqueued one."""

    def queue() -> list[FrozenTrial]:
        return storage.get_all_trials(storage.get_study_id_from_name(name), deepcopy=False)

    if store.jobs.of(name):
        return True
    waiting = store.patiently(queue) if store.patiently(lambda: _in_optuna(storage, name)) else []
    return any(trial.state != TrialState.WAITING or START not in trial.user_attrs for trial in waiting)


def _in_optuna(storage: BaseStorage, name: str) -> bool:
    try:
        storage.get_study_id_from_name(name)
    except KeyError:
        return False
    return True


def _flat(entries: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yields entries by dotted path. A parameter of the space is one entry."""
    for key, value in entries.items():
        if isinstance(value, dict) and prefix != "space.":
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _show(entries: Mapping[str, Any], key: str) -> str:
    return json.dumps(entries[key], ensure_ascii=False).replace('"', "") if key in entries else "absent"
