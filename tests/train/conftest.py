"""A few drawn faces, split and cached, as a worker finds them."""

from pathlib import Path

import pytest

from fer_tune.data.demo import demo_faces
from fer_tune.data.policy import SplitPolicy
from fer_tune.data.spec import DataRef
from fer_tune.data.splits import reference, store_split
from fer_tune.settings import Settings


@pytest.fixture(scope="session")
def tiny_data(tmp_path_factory: pytest.TempPathFactory) -> DataRef:
    return _drawn(tmp_path_factory.mktemp("tiny"), 0.12)


@pytest.fixture(scope="session")
def few_data(tmp_path_factory: pytest.TempPathFactory) -> DataRef:
    """Two batches of 64."""
    return _drawn(tmp_path_factory.mktemp("few"), 0.08)


def _drawn(root: Path, scale: float) -> DataRef:
    settings = Settings(root, f"sqlite:///{root}/fer_tune.db")
    faces = demo_faces(seed=1, scale=scale)
    return reference(faces, store_split(faces, SplitPolicy(), settings), settings)
