"""A study that starts from weights of a file: what follows its search needs the file no more."""

from __future__ import annotations

import re
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch

import fer_tune
from fer_tune.errors import StudyError, TrainingError
from fer_tune.models import start_weights
from fer_tune.settings import Settings
from fer_tune.train.export import Predictor
from tests.models.test_start_weights import NETWORK, forget, published

SWEEP = f"""
family: torchvision/{NETWORK}
weights: start.pth
data: fer2013
sampler: random
budget: {{trials: 1, epochs: 1}}
params:
  batch_size: 64
  frozen: half
"""
CPU = {"devices": "cpu", "engine": "inline", "wandb": "disabled"}


@pytest.fixture
def file(searching: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Returns a sweep beside its weights."""
    monkeypatch.setenv("FER_TUNE_DATA", str(searching.data_source))
    torch.save(published(), tmp_path / "start.pth")
    path = tmp_path / "mine.yaml"
    path.write_text(SWEEP)
    return path


def test_what_follows_a_search_needs_the_file_no_more(
    file: Path, searching: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fer_tune.run(file, **CPU)  # type: ignore[arg-type]
    weights = file.with_name("start.pth")
    torch.save({name: 2 * one for name, one in published().items()}, weights)
    with pytest.raises(StudyError, match=rf"family: torchvision/{NETWORK}@\w+, now torchvision/{NETWORK}@\w+"):
        fer_tune.run(file, **CPU)  # type: ignore[arg-type]
    weights.unlink()
    forget(monkeypatch)
    exported = fer_tune.export_study("mine", tmp_path)
    with tarfile.open(exported.file) as archive:
        assert [name for name in archive.getnames() if name.startswith("weights/")]
    fits = fer_tune.retrain("mine", test=False, **CPU)  # type: ignore[arg-type]
    assert fits is not None
    model = tmp_path / "elsewhere"
    shutil.copytree(fits[0].folder, model)
    shutil.rmtree(searching.weights)
    forget(monkeypatch)
    predictor = Predictor.load(model)
    assert re.fullmatch(rf"torchvision/{NETWORK}@[0-9a-f]{{16}}", str(predictor.description["family"]))
    assert predictor.predict(np.zeros((2, 48, 48), np.uint8)).shape == (2, 7)
    again = start_weights.register(f"torchvision/{NETWORK}", str(model), tmp_path, predictor.spec)
    assert start_weights.load(again)["conv1.0.weight"].shape == (24, 1, 3, 3)

    with pytest.raises(TrainingError, match="are not in this storage folder"):
        fer_tune.retrain("mine", test=False, **CPU)  # type: ignore[arg-type]
