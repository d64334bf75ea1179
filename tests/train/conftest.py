"""A few drawn faces, split and cached, as a worker finds them."""

import gc
from pathlib import Path

import pytest

from fer_tune.data.demo import demo_faces
from fer_tune.data.policy import SplitPolicy
from fer_tune.data.sources import fitted
from fer_tune.data.spec import DataRef
from fer_tune.data.splits import reference, store_split
from fer_tune.settings import Settings


@pytest.fixture(scope="module", autouse=True)
def little_to_collect() -> None:
    """Keeps the garbage collector away from what earlier tests left in this process.

    A trainer that lets networks go calls it, and a visit to everything takes half a second.
    """
    gc.freeze()


@pytest.fixture(scope="session")
def tiny_data(tmp_path_factory: pytest.TempPathFactory) -> DataRef:
    """Some batches of 32, of images as small as all families take them."""
    return _drawn(tmp_path_factory.mktemp("tiny"), 0.08, side=32)


@pytest.fixture(scope="session")
def large_data(tmp_path_factory: pytest.TempPathFactory) -> DataRef:
    """Four batches of 64, of images as large as those of FER2013. For a GPU."""
    return _drawn(tmp_path_factory.mktemp("large"), 0.12)


@pytest.fixture(scope="session")
def few_data(tmp_path_factory: pytest.TempPathFactory) -> DataRef:
    """Two batches of 64, of images as large as those of FER2013."""
    return _drawn(tmp_path_factory.mktemp("few"), 0.08)


@pytest.fixture
def faces(request: pytest.FixtureRequest) -> DataRef:
    """Two batches of 64, of images as large as those of FER2013 on a GPU, and smaller on a CPU."""
    on_gpu = request.node.get_closest_marker("gpu") is not None
    found: DataRef = request.getfixturevalue("few_data" if on_gpu else "tiny_data")
    return found


@pytest.fixture(scope="session")
def one_batch(tmp_path_factory: pytest.TempPathFactory) -> DataRef:
    """One batch of 32 of such images."""
    return _drawn(tmp_path_factory.mktemp("one_batch"), 0.02, side=32)


def _drawn(root: Path, scale: float, side: int = 48) -> DataRef:
    settings = Settings(root, f"sqlite:///{root}/fer_tune.db")
    faces = fitted(demo_faces(seed=1, scale=scale), side, 1)
    return reference(faces, store_split(faces, SplitPolicy(), settings), settings)
