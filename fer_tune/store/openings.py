"""The ledger of a storage folder: every opening of test images, in a file that only grows.

The database has a ledger of its own for the final fits of its studies. This one is over all
databases of the folder, and has ensembles and evaluations too. It has a line of JSON for each
opening, another one for its result, and further ones for views that were evaluated later.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from io import BytesIO
from pathlib import Path
from typing import IO, Any

from fer_tune.files import flush, writing
from fer_tune.store.records import LedgerRecord

FILE = "test-ledger.jsonl"

LONGEST_WRITE = timedelta(minutes=1)
"""Within this time an opening is in the database and in the file, if the storage is slow."""

BETWEEN = ", "
"""Stands between the names of what was opened."""


@dataclass(frozen=True)
class Opening:
    """One opening of the test images of a split.

    Attributes:
        id: identifies the opening. For a final fit it is the uid of its job.
        split: what the images are called: the hash of a split, or the signature of other images
            and their part. See `joined` for images with several names.
        purpose: such as `final fit`, `ensemble` or `evaluate`.
        model: what was evaluated: a job, or a folder.
        study: name of the study, or several names; empty if there is none.
        result: accuracies by view; empty while there is none.
    """

    id: str
    split: str
    purpose: str
    model: str
    study: str
    opened: datetime
    result: dict[str, float] = field(default_factory=dict)

    @property
    def line(self) -> str:
        """The opening in words."""
        shown = ", ".join(f"{name} {100 * value:.2f} %" for name, value in self.result.items())
        about = " ".join(word for word in (self.study, self.purpose) if word)
        return f"{self.opened:%Y-%m-%d %H:%M} {about} {self.model}{': ' if shown else ''}{shown}"


def joined(*names: str) -> str:
    """Returns the `split` of an opening that counts under several names, such as a part of the
    competition that has test images of a split."""
    return BETWEEN.join(name for name in names if name)


class Openings:
    """The ledger of a storage folder. Lines are added and never changed.

    Args:
        root: the storage folder.
    """

    def __init__(self, root: Path) -> None:
        self.path = root / FILE

    def open(self, id: str, split: str, *, purpose: str, model: str, study: str = "") -> Opening:
        """Records that test images will be opened. A second call with this id changes nothing.

        Call it before the images are opened.

        Raises:
            StorageError: the file cannot be written.
        """
        with writing(self.path), self._locked() as file:
            known = _read(file).get(id)
            if known is not None:
                return known
            made = Opening(id, split, purpose, model, study, datetime.now(UTC))
            for entry in _entries(made):
                _append(file, entry)
            return made

    def result(self, id: str, accuracies: Mapping[str, float]) -> None:
        """Records what an opening showed. The first result of each view counts.

        Raises:
            StorageError: the file cannot be written.
        """
        with writing(self.path), self._locked() as file:
            known = _read(file).get(id)
            if new := _unknown(accuracies, known.result if known else {}):
                _append(file, {"result_of": id, "result": new})

    def all(self) -> list[Opening]:
        """Returns every opening, the oldest first."""
        return _by_time(self._known())

    def of_split(self, split: str, database: list[LedgerRecord] | None = None) -> list[Opening]:
        """Returns every opening of a split, the oldest first.

        Args:
            split: its hash. Of several names, those openings are returned that have one of them.
            database: openings that a database recorded, perhaps before there was this file.
        """
        there, names = self._known(), _names(split)
        found = {record.job: _of_record(record, record.job, record.job) for record in database or () if record.job}
        gone = sorted((record for record in database or () if not record.job), key=lambda record: record.opened)
        rest = _by_time({id: one for id, one in there.items() if id not in found})
        for place, record in enumerate(gone):
            same = next((one for one in rest if _is_same(record, one)), None)
            if same is None:
                id = f"deleted {place}"
                found[id] = _of_record(record, id, "of a deleted study")
            else:
                rest.remove(same)
        return [one for one in _by_time(found | there) if names & _names(one.split)]

    def lines(self) -> list[str]:
        """Returns the lines of the ledger, for a backup."""
        return [json.dumps(entry) for opening in self.all() for entry in _entries(opening)]

    def merge(self, lines: Sequence[str]) -> int:
        """Adds the lines of another ledger, such as that of a backup. Returns how many openings are
        new. What is known already is not added again. A known opening may get further views.

        Raises:
            StorageError: the file cannot be written.
        """
        with writing(self.path), self._locked() as file:
            known = _read(file)
            others = _read(BytesIO("\n".join(lines).encode()))
            for opening in others.values():
                there = known.get(opening.id)
                if there is None:
                    entries = _entries(opening)
                else:
                    entries = _result_entries(opening.id, _unknown(opening.result, there.result))
                for entry in entries:
                    _append(file, entry)
        return len(others.keys() - known.keys())

    def _known(self) -> dict[str, Opening]:
        try:
            with self.path.open("rb") as file:
                return _read(file)
        except FileNotFoundError:
            return {}

    def _locked(self) -> IO[bytes]:
        """Opens the file for reading and appending, for one process at a time."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        file = self.path.open("ab+")
        fcntl.flock(file, fcntl.LOCK_EX)  # until it is closed
        return file


def _names(split: str) -> set[str]:
    """Returns the names in an opening's `split`. Earlier versions wrote a part as the user did."""
    return set(split.lower().split(BETWEEN))


def _of_record(record: LedgerRecord, id: str, model: str) -> Opening:
    """Returns an opening that a database recorded."""
    return Opening(id, record.split_hash, record.purpose, model, record.study, record.opened)


def _is_same(record: LedgerRecord, opening: Opening) -> bool:
    """Returns whether a deleted study's record is of this opening. It no longer names its job. But
    an opening is written to the database first, and to the file right after it."""
    later = opening.opened - record.opened
    same = opening.purpose == record.purpose and record.split_hash.lower() in _names(opening.split)
    return same and timedelta(0) <= later <= LONGEST_WRITE


def _by_time(openings: Mapping[str, Opening]) -> list[Opening]:
    return sorted(openings.values(), key=lambda one: one.opened)


def _entries(opening: Opening) -> list[dict[str, Any]]:
    """Returns the lines of an opening: what was opened and, if it is known, the result."""
    about = {name: value for name, value in vars(opening).items() if name != "result"}
    about["opened"] = opening.opened.isoformat()
    return [about, *_result_entries(opening.id, opening.result)]


def _result_entries(id: str, result: Mapping[str, float]) -> list[dict[str, Any]]:
    return [{"result_of": id, "result": dict(result)}] if result else []


def _unknown(result: Mapping[str, float], known: Mapping[str, float]) -> dict[str, float]:
    """Returns the views that have no result yet."""
    return {view: value for view, value in result.items() if view not in known}


def _read(file: IO[bytes]) -> dict[str, Opening]:
    """Returns the openings by id. A line that a full disk cut off is left out."""
    file.seek(0)
    found: dict[str, Opening] = {}
    for line in file:
        try:
            entry: dict[str, Any] = json.loads(line)
            if "result_of" in entry:
                known = found[entry["result_of"]]
                found[known.id] = replace(known, result=known.result | _unknown(entry["result"], known.result))
            else:
                opening = Opening(**entry | {"opened": datetime.fromisoformat(entry["opened"])})
                found.setdefault(opening.id, opening)
        except (ValueError, TypeError, KeyError):
            continue
    return found


def _append(file: IO[bytes], entry: Mapping[str, Any]) -> None:
    """Writes a line at the end, which is a new line even if the last one was cut off."""
    file.seek(0, os.SEEK_END)
    if file.tell():
        file.seek(-1, os.SEEK_END)
        torn = file.read(1) != b"\n"
    else:
        torn = False
    text = json.dumps(entry)
    file.write(("\n" if torn else "").encode() + text.encode() + b"\n")
    flush(file)
