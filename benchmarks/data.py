"""How long faces take to load: parsing train.csv beside pandas, and finding it again in the cache.

    python -m benchmarks.data                  28,709 rows made up of random pixels
    python -m benchmarks.data --source PATH    the rows of a data set of your own
    python -m benchmarks.data --rows 2000      quicker

Pandas' way is `read_csv`, then `np.fromstring` row by row. Both parse the same file, turn by
turn, and must give the same pixels; the shortest times are compared, since other work on the
machine only adds. Writes benchmarks/results/data.json.
"""

from __future__ import annotations

import argparse
import json
import platform
import tempfile
import time
import warnings
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from benchmarks.circumstances import commit, machine
from fer_tune import __version__
from fer_tune.data.csvfile import read_csv
from fer_tune.data.dataset import Dataset, Images
from fer_tune.data.duplicates import find_groups
from fer_tune.data.fer2013 import SIDE
from fer_tune.data.load import load_faces
from fer_tune.settings import Settings

RESULT = Path(__file__).parent / "results" / "data.json"

T = TypeVar("T")


def main() -> None:
    options = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    options.add_argument("--source", help="a data set; without it random pixels are used")
    options.add_argument("--rows", type=int, default=28_709)
    options.add_argument("--repeats", type=int, default=5)
    options.add_argument("--out", type=Path, default=RESULT)
    given = options.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        result = measure(given.source, given.rows, given.repeats, Path(folder))
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))


def measure(source: str | None, rows: int, repeats: int, folder: Path) -> dict[str, Any]:
    """Writes a train.csv and times what is done with it; times in seconds, one entry a repeat."""
    settings = Settings(folder / "storage", "sqlite://")
    faces = load_faces(source, settings) if source else _random_faces(rows)
    path = folder / "train.csv"
    _write_csv(faces, path)
    ours, theirs = [], []
    for _ in range(repeats):
        seconds, parsed = _timed(lambda: _parse(path))
        ours.append(seconds)
        seconds, expected = _timed(lambda: _pandas(path))
        theirs.append(seconds)
        assert np.array_equal(parsed, expected)
    first, _ = _timed(lambda: load_faces(str(path), settings))
    again = [_timed(lambda: load_faces(str(path), settings).images[0])[0] for _ in range(max(5, repeats))]
    search, groups = _timed(lambda: find_groups(faces.images))
    return {
        "rows": len(faces),
        "pixels": "a data set" if source else "random",
        "parse_seconds": ours,
        "pandas_seconds": theirs,
        "parse_over_pandas": round(min(ours) / min(theirs), 3),
        "first_load_seconds": first,
        "second_load_seconds": again,
        "duplicate_search_seconds": search,
        "redundant": {name: len(faces) - len(np.unique(getattr(groups, name))) for name in ("exact", "near")},
        **_circumstances(),
    }


def _random_faces(rows: int) -> Dataset:
    random = np.random.RandomState(0)
    labels = np.arange(rows, dtype=np.int64) % 7
    return Dataset.of(random.randint(0, 256, (rows, SIDE, SIDE)).astype(np.uint8), labels)


def _write_csv(faces: Dataset, path: Path) -> None:
    with path.open("w") as stream:
        stream.write("emotion,pixels\n")
        for image, label in zip(faces.images, faces.labels, strict=True):
            stream.write(f"{label},{' '.join(map(str, image.ravel().tolist()))}\n")


def _parse(path: Path) -> Images:
    with path.open("rb", buffering=1 << 20) as stream:
        return read_csv(stream, path.name).images


def _pandas(path: Path) -> Images:
    import pandas

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        table = pandas.read_csv(path)
        rows = [np.fromstring(text, dtype=np.uint8, sep=" ") for text in table["pixels"]]
    return np.stack(rows).reshape(-1, SIDE, SIDE)


def _timed(call: Callable[[], T]) -> tuple[float, T]:
    start = time.perf_counter()
    value = call()
    return time.perf_counter() - start, value


def _circumstances() -> dict[str, Any]:
    import pandas

    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": commit(),
        "fer_tune": __version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "pandas": pandas.__version__,
        "machine": machine(),
    }


if __name__ == "__main__":
    main()
