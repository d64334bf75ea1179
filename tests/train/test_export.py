import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from fer_tune.data.access import open_final
from fer_tune.data.spec import DataRef
from fer_tune.errors import DataError, StorageError
from fer_tune.job import Job
from fer_tune.models import FAMILIES
from fer_tune.train.export import Predictor
from fer_tune.train.loop import Trainer


def _final(tiny_data: DataRef, folder: Path, family: str, **params: object) -> Job:
    width = {"width": 0.25 if FAMILIES[family].config.model_fields["width"].annotation is float else 8}
    return Job(
        "s", 3, family, {**width, "batch_size": 32, **params}, 1, 5, tiny_data, fit="train+val", artifacts=folder
    )


def _fit(tiny_data: DataRef, folder: Path, family: str = "simple_cnn", **params: object) -> Trainer:
    trainer = Trainer("cpu", threads=1)
    *_, end = trainer.train(_final(tiny_data, folder, family, **params))
    assert end.status == "completed", end.detail
    return trainer


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_a_model_folder_predicts_as_the_network_that_was_trained(tiny_data, tmp_path, family):
    trainer = _fit(tiny_data, tmp_path, family, ema=0.5)
    engine = trainer._engines.latest
    data = open_final(tiny_data)
    images = data.images[data.test]
    engine.flat.values.copy_(engine.optimizer.average)
    live = Predictor(engine.flat.model, json.loads((tmp_path / "config.json").read_text()), trainer.device)
    expected = live.predict(images)
    found = Predictor.load(tmp_path).predict(images)
    assert found.shape == (len(images), 7)
    assert found.dtype == np.float32
    assert np.allclose(found, expected, atol=1e-5)
    assert np.allclose(found.sum(1), 1, atol=1e-5)


def test_flip_averages_each_face_and_its_mirror_image(tiny_data, tmp_path):
    _fit(tiny_data, tmp_path)
    predictor = Predictor.load(tmp_path)
    data = open_final(tiny_data)
    images = np.array(data.images[data.test])
    both = predictor.predict(images, flip=True)
    assert np.allclose(both, (predictor.predict(images) + predictor.predict(images[:, :, ::-1])) / 2, atol=1e-6)
    assert np.allclose(both, predictor.predict(images[:, :, ::-1], flip=True), atol=1e-6)
    assert not np.allclose(both, predictor.predict(images), atol=1e-4)


def test_nothing_to_predict_is_no_error(tiny_data, tmp_path):
    _fit(tiny_data, tmp_path)
    assert Predictor.load(tmp_path).predict(np.zeros((0, 48, 48), np.uint8)).shape == (0, 7)


def test_says_where_the_model_came_from(tiny_data, tmp_path):
    _fit(tiny_data, tmp_path)
    description = json.loads((tmp_path / "config.json").read_text())
    origin = description["origin"]
    assert (origin["study"], origin["trial"], origin["split_hash"]) == ("s", 3, tiny_data.split_hash)
    assert description["classes"][3] == "happy"
    assert description["train_config"]["batch_size"] == 32


def test_a_folder_without_a_model_is_said(tmp_path):
    with pytest.raises(DataError, match="holds no model"):
        Predictor.load(tmp_path)


@pytest.mark.parametrize("keep", [0, 5, 2000])
def test_a_torn_model_is_said_and_not_trusted(tiny_data, tmp_path, keep):
    _fit(tiny_data, tmp_path)
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:keep])
    with pytest.raises(StorageError, match=r"model\.safetensors cannot be read"):
        Predictor.load(tmp_path)


def test_a_torn_description_is_said(tiny_data, tmp_path):
    _fit(tiny_data, tmp_path)
    path = tmp_path / "config.json"
    path.write_text(path.read_text()[:40])
    with pytest.raises(StorageError, match="not JSON"):
        Predictor.load(tmp_path)
    for other in (1, 99):
        path.write_text(f'{{"format": {other}}}')
        with pytest.raises(DataError, match="format 2"):
            Predictor.load(tmp_path)


def test_final_fit_of_another_seed_is_another_model(tiny_data, tmp_path):
    spec = _final(tiny_data, tmp_path / "a", "simple_cnn")
    trainer = Trainer("cpu", threads=1)
    list(trainer.train(spec))
    list(trainer.train(dataclasses.replace(spec, seed=6, artifacts=tmp_path / "b")))
    assert (tmp_path / "a/model.safetensors").read_bytes() != (tmp_path / "b/model.safetensors").read_bytes()
