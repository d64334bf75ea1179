import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from fer_tune.data.access import open_final, open_search
from fer_tune.data.dataset import Dataset
from fer_tune.data.policy import SplitPolicy
from fer_tune.data.spec import DataRef, DataSpec
from fer_tune.data.splits import reference, store_split
from fer_tune.errors import DataError, StorageError
from fer_tune.job import EpochRow, Job, StepProgress
from fer_tune.models import FAMILIES
from fer_tune.settings import Settings
from fer_tune.train.export import Predictor
from fer_tune.train.loop import Trainer
from tests.data.making import arrays
from tests.families import smallest
from tests.train.bench import Bench


def _final(tiny_data: DataRef, folder: Path, family: str, **params: object) -> Job:
    wanted = {**smallest(FAMILIES[family]), "batch_size": 32, **params}
    return Job("a1b2c3", "s", "final", family, wanted, 1, 5, tiny_data, fit="train+val", artifacts=folder)


def _fit(tiny_data: DataRef, folder: Path, family: str = "simple_cnn", **params: object) -> Bench:
    bench = Bench()
    *_, end = bench.trainer.train(_final(tiny_data, folder, family, **params))
    assert end.status == "completed", end.detail or end.reason
    return bench


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_a_model_folder_predicts_as_the_network_that_was_trained(tiny_data, tmp_path, family):
    engine = _fit(tiny_data, tmp_path, family, ema=0.5).engine
    data = open_final(tiny_data)
    images = data.images[data.test]
    engine.flat.values.copy_(engine.optimizer.average)
    live = Predictor(engine.flat.model, json.loads((tmp_path / "config.json").read_text()), engine.device)
    expected = live.predict(images)
    found = Predictor.load(tmp_path).predict(images)
    assert found.shape == (len(images), 7)
    assert found.dtype == np.float32
    assert np.allclose(found, expected, atol=1e-5)
    assert np.allclose(found.sum(1), 1, atol=1e-5)


PETS = {
    "three classes": DataSpec(("cat", "dog", "parrot"), 48, 1),
    "eight in colour": DataSpec(tuple("abcdefgh"), 48, 3),
    "side 32": DataSpec(("cat", "dog", "parrot"), 32, 1),
    "side 64 in colour": DataSpec(("cat", "dog", "parrot"), 64, 3),
}


ODD = [DataSpec(("a", "b", "c"), 45, 1), DataSpec(("a", "b"), 96, 1)]


@pytest.mark.parametrize("spec", PETS.values(), ids=PETS)
@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_other_classes_sides_and_colours_go_from_training_to_prediction(tmp_path, family, spec):
    images, labels = arrays(12, classes=len(spec.classes), side=spec.side, channels=spec.channels)
    dataset = Dataset.of(images, labels, classes=spec.classes)
    settings = Settings(tmp_path, f"sqlite:///{tmp_path}/fer_tune.db")
    data = reference(dataset, store_split(dataset, SplitPolicy(), settings), settings)
    assert data.spec == spec
    job = _final(data, tmp_path / "model", family, batch_size=8, augment=0.5, mixup=0.5, self_distillation=0.5)
    search = dataclasses.replace(job, fit="train", artifacts=None)
    bench = Bench()
    row, end = (message for message in bench.trainer.train(search) if not isinstance(message, StepProgress))
    assert end.status == "completed", end.detail or end.reason
    assert len(row.recall) == len(spec.classes)
    assert bench.engine.logits.shape == (len(open_search(data).val), len(spec.classes))
    *_, end = bench.trainer.train(job)
    assert end.status == "completed", end.detail or end.reason
    predictor = Predictor.load(tmp_path / "model")
    assert predictor.spec == spec
    assert predictor.predict(images[:5], tta="flip").shape == (5, len(spec.classes))
    assert np.allclose(predictor.predict(images[:5]).sum(1), 1, atol=1e-5)


@pytest.mark.gpu
@pytest.mark.parametrize(
    "spec", [*PETS.values(), DataSpec(("a", "b", "c"), 45, 1), DataSpec(("a", "b"), 96, 1)], ids=str
)
@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_other_classes_sides_and_colours_train_on_a_gpu(tmp_path, family, spec):
    """Kernels are for grey images, even edges, or small images; torch does the rest."""
    images, labels = arrays(40, classes=len(spec.classes), side=spec.side, channels=spec.channels)
    for label in range(len(spec.classes)):
        images[labels == label, : 4 + 3 * label] //= 4
    dataset = Dataset.of(images, labels, classes=spec.classes)
    settings = Settings(tmp_path, f"sqlite:///{tmp_path}/fer_tune.db")
    data = reference(dataset, store_split(dataset, SplitPolicy(), settings), settings)
    params = {**smallest(FAMILIES[family]), "batch_size": 16, "augment": 0.2, "mixup": 0.2, "lr": 0.003}
    job = Job("a1b2c3", "s", "search", family, params, 4, 5, data)
    *on_gpu, end = Bench("cuda").trainer.train(job)
    assert (end.status, end.notes) == ("completed", ()), end.detail or end.reason
    rows = [message for message in on_gpu if isinstance(message, EpochRow)]
    assert rows[-1].train_loss < rows[0].train_loss


def test_images_that_are_too_small_for_a_family_fail_the_job_with_what_to_do(tmp_path):
    images, labels = arrays(12, classes=3, side=12)
    dataset = Dataset.of(images, labels, classes=("cat", "dog", "parrot"))
    settings = Settings(tmp_path, f"sqlite:///{tmp_path}/fer_tune.db")
    data = reference(dataset, store_split(dataset, SplitPolicy(), settings), settings)
    [end] = Trainer("cpu", threads=1).train(_final(data, tmp_path / "model", "vgg"))
    assert (end.status, end.detail) == ("failed", "")
    assert "vgg needs images of at least 16 pixels a side (got 12)" in end.reason


def test_flip_averages_each_face_and_its_mirror_image(tiny_data, tmp_path):
    _fit(tiny_data, tmp_path)
    predictor = Predictor.load(tmp_path)
    data = open_final(tiny_data)
    images = np.array(data.images[data.test])
    both = predictor.predict(images, tta="flip")
    assert np.allclose(both, (predictor.predict(images) + predictor.predict(images[:, :, ::-1])) / 2, atol=1e-6)
    assert np.allclose(both, predictor.predict(images[:, :, ::-1], tta="flip"), atol=1e-6)
    assert not np.allclose(both, predictor.predict(images), atol=1e-4)


def test_nothing_to_predict_is_no_error(tiny_data, tmp_path):
    _fit(tiny_data, tmp_path)
    assert Predictor.load(tmp_path).predict(np.zeros((0, 48, 48), np.uint8)).shape == (0, 7)


def test_says_where_the_model_came_from(tiny_data, tmp_path):
    _fit(tiny_data, tmp_path)
    description = json.loads((tmp_path / "config.json").read_text())
    origin = description["origin"]
    assert (origin["study"], origin["job"], origin["split_hash"]) == ("s", "a1b2c3", tiny_data.split_hash)
    assert description["classes"][3] == "happy"
    assert description["train_config"]["batch_size"] == 32


def test_a_folder_without_a_model_is_said(tmp_path):
    with pytest.raises(DataError, match="is not a model folder"):
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
