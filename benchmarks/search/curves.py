"""Learning curves of one family: the file that `collect` writes and the simulated trainer reads.

A file has numbers and hyperparameters only. Accuracies and losses are kept as 16-bit integers, so
that a thousand curves of forty epochs take about 300 kB.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from fer_tune.errors import DataError
from fer_tune.files import replace_file
from fer_tune.job import Value

Kind = Literal["random", "seeds", "near", "search"]
"""Which configurations a chunk has: random ones, the first start configuration under several seeds,
configurations around that one, or those that a search trained to their end."""

Floats = NDArray[np.float64]

MEASURES = ("val_accuracy", "val_loss", "train_loss", "train_accuracy", "seconds")
"""The fields of an `EpochRow` that a curve has."""

SCALE = {"val_accuracy": 50_000.0, "train_accuracy": 50_000.0, "val_loss": 4_000.0, "train_loss": 4_000.0}
"""What the file multiplies a value with before it rounds it: accuracy to 0.002 points."""

NOTHING = 65_535
"""Stands for an epoch that was not trained. Larger values are cut to one less."""

FOLDER = Path(__file__).parents[1] / "curves"

SWEEPS = Path(__file__).parents[2] / "sweeps"


@dataclass(frozen=True)
class Curve:
    """One training.

    Attributes:
        params: hyperparameters by name.
        seed: of the training.
        state: `complete`, `diverged` (its loss was not finite), `cut` (the time of its chunk was
            over) or `failed`.
        repeat: whether this is the first start configuration under one of several seeds.
        overhead: seconds of the trial that were not in its epochs, such as capturing the step.
        chunk: index of the chunk in which it was collected.
        rows: [epochs, measures] in the order of `MEASURES`.
    """

    params: dict[str, Value]
    seed: int
    state: str
    repeat: bool
    overhead: float
    chunk: int
    rows: Floats


@dataclass
class Curves:
    """The curves of one family.

    Attributes:
        epochs: of the schedule.
        chunks: for each call of `collect`: device, versions, commit, date, seed, lanes and so on.
    """

    family: str
    epochs: int
    chunks: list[dict[str, Any]] = field(default_factory=list)
    curves: list[Curve] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.curves)

    def whole(self, repeat: bool | None = None) -> list[Curve]:
        """Returns the curves that have all epochs, or that ended because nothing improved any more:
        the last epoch then stands for the others.

        Args:
            repeat: whether to return only those of the start configuration, or only the others.
        """
        return [
            replace(
                curve, rows=np.concatenate([curve.rows, np.repeat(curve.rows[-1:], self.epochs - len(curve.rows), 0)])
            )
            for curve in self.curves
            if curve.state == "complete" and len(curve.rows) and repeat in (None, curve.repeat)
        ]

    def kind(self, curve: Curve) -> Kind:
        """Returns which kind of configuration a curve belongs to."""
        kind = self.chunks[curve.chunk].get("kind")
        return "seeds" if curve.repeat else kind if kind in ("near", "search") else "random"

    def diverged(self) -> list[Curve]:
        """Returns the curves that ended because their loss was not finite."""
        return [curve for curve in self.curves if curve.state == "diverged"]

    def add(self, chunk: dict[str, Any], curves: Sequence[Curve]) -> None:
        """Adds the curves of one more chunk."""
        self.chunks.append(chunk)
        self.curves.extend(curves)

    def join(self, other: Curves) -> None:
        """Adds the chunks of another file.

        Raises:
            DataError: it is of another family or length, or a chunk of it is in this file.
        """
        if (other.family, other.epochs) != (self.family, self.epochs):
            raise DataError(
                f"These curves are of {other.family} with {other.epochs} epochs, "
                f"and the file's are of {self.family} with {self.epochs}.",
                "Put together files of one family and length.",
            )
        both = [chunk for chunk in other.chunks if chunk in self.chunks]
        if both:
            raise DataError(f"The chunk of seed {both[0].get('seed')} is in both files.", "Add each file once.")
        first = len(self.chunks)
        self.chunks.extend(other.chunks)
        self.curves.extend(replace(curve, chunk=curve.chunk + first) for curve in other.curves)

    def save(self, path: Path) -> None:
        """Writes the file, whole or not at all."""
        count = len(self.curves)
        table = np.full((count, self.epochs, len(MEASURES)), np.nan)
        for index, curve in enumerate(self.curves):
            table[index, : len(curve.rows)] = curve.rows
        arrays: dict[str, Any] = {}
        for index, name in enumerate(MEASURES):
            values = table[:, :, index]
            if name == "seconds":
                arrays[name] = values.astype(np.float16)
            else:
                scaled = np.clip(np.rint(values * SCALE[name]), 0, NOTHING - 1)
                arrays[name] = np.where(np.isfinite(values), scaled, NOTHING).astype(np.uint16)
        header = {
            "family": self.family,
            "epochs": self.epochs,
            "chunks": self.chunks,
            "params": [_rounded(curve.params) for curve in self.curves],
            "seed": [curve.seed for curve in self.curves],
            "state": [curve.state for curve in self.curves],
            "repeat": [int(curve.repeat) for curve in self.curves],
            "chunk": [curve.chunk for curve in self.curves],
            "overhead": [round(curve.overhead, 3) for curve in self.curves],
            "rows": [len(curve.rows) for curve in self.curves],
        }
        arrays["header"] = np.frombuffer(json.dumps(header, separators=(",", ":")).encode(), np.uint8)
        replace_file(path, lambda stream: np.savez_compressed(stream, **arrays))

    @classmethod
    def load(cls, path: Path) -> Curves:
        """Reads a file.

        Raises:
            DataError: there is no such file, or it was not written by `save`.
        """
        if not path.exists():
            raise DataError(
                f"{path}: this file of learning curves does not exist.",
                "`python -m benchmarks.search.collect` writes it. `--invented` plays invented curves instead.",
            )
        try:
            with np.load(path) as arrays:
                found = {name: arrays[name] for name in (*MEASURES, "header")}
        except (KeyError, ValueError, OSError, BadZipFile) as error:
            raise DataError(f"{path}: this is not a file of learning curves ({error}).", "Collect it again.") from error
        header = json.loads(found["header"].tobytes())
        columns = []
        for name in MEASURES:
            values = found[name].astype(np.float64)
            columns.append(values if name == "seconds" else np.where(values == NOTHING, np.nan, values / SCALE[name]))
        table = np.stack(columns, axis=2)
        curves = [
            Curve(params, seed, state, bool(repeat), overhead, chunk, table[index, :rows])
            for index, (params, seed, state, repeat, overhead, chunk, rows) in enumerate(
                zip(
                    *(header[key] for key in ("params", "seed", "state", "repeat", "overhead", "chunk", "rows")),
                    strict=True,
                )
            )
        ]
        return cls(header["family"], header["epochs"], header["chunks"], curves)


def _rounded(params: dict[str, Value]) -> dict[str, Value]:
    return {name: float(f"{value:.6g}") if isinstance(value, float) else value for name, value in params.items()}
