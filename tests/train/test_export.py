import dataclasses
import functools
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load_file, save

from fer_tune.data.access import open_final, open_search
from fer_tune.data.dataset import Dataset
from fer_tune.data.policy import SplitPolicy
from fer_tune.data.spec import DataRef, DataSpec
from fer_tune.data.splits import reference, store_split
from fer_tune.errors import DataError, FerTuneError, StorageError
from fer_tune.job import EpochRow, Job, StepProgress
from fer_tune.models import FAMILIES
from fer_tune.settings import Settings
from fer_tune.train.export import Predictor
from fer_tune.train.loop import Trainer
from fer_tune.train.model_config import read_config
from tests.data.making import arrays
from tests.families import smallest
from tests.model_folder import untrained
from tests.train.bench import Bench


def _final(tiny_data: DataRef, folder: Path, family: str, **params: object) -> Job:
    wanted = {**smallest(FAMILIES[family]), "batch_size": 32, **params}
    return Job("a1b2c3", "s", "final", family, wanted, 1, 5, tiny_data, fit="train+val", artifacts=folder)


def _fit(tiny_data: DataRef, folder: Path, family: str = "simple_cnn", **params: object) -> Bench:
    bench = Bench()
    *_, end = bench.trainer.train_alone(_final(tiny_data, folder, family, **params))
    assert end.status == "completed", end.detail or end.reason
    return bench


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_a_model_folder_predicts_as_the_network_that_was_trained(tiny_data, tmp_path, family):
    network = _fit(tiny_data, tmp_path, family, ema=0.5).network
    data = open_final(tiny_data)
    images = data.images[data.test]
    network.flat.values.copy_(network.optimizer.average)
    live = Predictor(network.flat.model, read_config(tmp_path), network.device)
    expected = live.predict(images)
    found = Predictor.load(tmp_path).predict(images)
    assert found.shape == (len(images), 7)
    assert found.dtype == np.float32
    assert np.allclose(found, expected, atol=1e-5)
    assert np.allclose(found.sum(1), 1, atol=1e-5)


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_a_model_of_crops_takes_whole_images(few_data, tmp_path, family):
    _fit(few_data, tmp_path, family, crop=40)
    predictor = Predictor.load(tmp_path)
    assert (predictor.spec.side, predictor.side) == (48, 40)
    data = open_final(few_data)
    images = np.array(data.images[data.test][:6])
    plain, crops = predictor.predict(images), predictor.predict(images, "crops")
    other = images.copy()
    other[:, :4], other[:, 44:], other[:, :, :4], other[:, :, 44:] = 0, 0, 0, 0
    assert np.allclose(predictor.predict(other), plain, atol=1e-6), "it saw more than the middle"
    assert not np.allclose(predictor.predict(other, "crops"), crops, atol=1e-4)
    assert np.allclose(crops.sum(1), 1, atol=1e-5)


def test_a_crop_must_be_smaller_than_the_images(few_data, tmp_path):
    [end] = Bench().trainer.train_alone(_final(few_data, tmp_path, "simple_cnn", crop=48))
    assert end.status == "failed"
    assert "crop must be smaller than the images, which have 48 pixels a side (got 48)" in end.reason


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
    images, labels = arrays(8, classes=len(spec.classes), side=spec.side, channels=spec.channels)
    dataset = Dataset.of(images, labels, classes=spec.classes)
    settings = Settings(tmp_path, f"sqlite:///{tmp_path}/fer_tune.db")
    data = reference(dataset, store_split(dataset, SplitPolicy(), settings), settings)
    assert data.spec == spec
    job = _final(data, tmp_path / "model", family, batch_size=8, augment=0.5, mixup=0.5, self_distillation=0.5)
    search = dataclasses.replace(job, fit="train", artifacts=None)
    bench = Bench()
    row, end = (message for message in bench.trainer.train_alone(search) if not isinstance(message, StepProgress))
    assert end.status == "completed", end.detail or end.reason
    assert len(row.recall) == len(spec.classes)
    assert bench.network.logits.shape == (len(open_search(data).val), len(spec.classes))
    *_, end = bench.trainer.train_alone(job)
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
    *on_gpu, end = Bench("cuda").trainer.train_alone(job)
    assert (end.status, end.notes) == ("completed", ()), end.detail or end.reason
    rows = [message for message in on_gpu if isinstance(message, EpochRow)]
    assert rows[-1].train_loss < rows[0].train_loss


def test_images_that_are_too_small_for_a_family_fail_the_job_with_what_to_do(tmp_path):
    images, labels = arrays(12, classes=3, side=12)
    dataset = Dataset.of(images, labels, classes=("cat", "dog", "parrot"))
    settings = Settings(tmp_path, f"sqlite:///{tmp_path}/fer_tune.db")
    data = reference(dataset, store_split(dataset, SplitPolicy(), settings), settings)
    [end] = Trainer("cpu", threads=1).train_alone(_final(data, tmp_path / "model", "vgg"))
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


def test_nothing_to_predict_is_no_error(few_data, tmp_path):
    _fit(few_data, tmp_path)
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


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Returns a model folder of a small network that was not trained."""
    folder = untrained(tmp_path_factory.mktemp("model"), DataSpec(("sad", "happy"), 48, 1))
    assert Predictor.load(folder).predict(np.zeros((1, 48, 48), np.uint8)).shape == (1, 2)
    return folder


@pytest.mark.parametrize(
    "images",
    [
        np.zeros((2, 48, 48), np.float32),
        np.zeros((48, 48), np.uint8),
        np.zeros((2, 64, 64), np.uint8),
        np.zeros((2, 48, 48, 3), np.uint8),
    ],
)
def test_images_of_another_kind_are_refused_with_what_the_model_takes(model: Path, images: np.ndarray) -> None:
    with pytest.raises(DataError, match=r"takes uint8 images of shape \(N, 48, 48\), and got"):
        Predictor.load(model).predict(images)


def changed(at: str, value: object) -> Callable[[str], str]:
    """Returns a change of one value of a `config.json`; `...` removes it."""

    def change(text: str) -> str:
        values = json.loads(text)
        *path, last = at.split(".")
        place = functools.reduce(dict.__getitem__, path, values)
        if value is ...:
            del place[last]
        else:
            place[last] = value
        return json.dumps(values)

    return change


@pytest.mark.parametrize(
    "damage",
    [
        changed("family_config.width", 10**9), changed("family_config.width", "x"), changed("family_config.more", 1),
        changed("family_config", None), changed("family_config", ...), changed("input", ...),
        changed("input.std", "0.25"), changed("input.std", 0), changed("input.std", 0.0), changed("input.std", -1.0),
        changed("input.std", 1e999), changed("input.mean", None), changed("input.height", 10**6),
        changed("input.width", 47), changed("input.channels", 2), changed("family", ["simple_cnn"]),
        changed("family", {}), changed("classes", "sad"), changed("classes", []), changed("classes", ["sad"] * 2000),
        changed("classes", ["a", "b", "c"]), changed("classes", [1, 2]), changed("format", "2"),
        lambda text: "[" * 100_000, lambda text: '{"format": ' + "9" * 10_000 + "}", lambda text: "",
        lambda text: "\x00" * 100, lambda text: "[]", lambda text: " " * (2 << 20),
    ],
)  # fmt: skip
def test_a_config_that_somebody_else_wrote_is_refused(
    model: Path, tmp_path: Path, damage: Callable[[str], str]
) -> None:
    shutil.copytree(model, tmp_path, dirs_exist_ok=True)
    path = tmp_path / "config.json"
    path.write_text(damage(path.read_text()))
    with pytest.raises(FerTuneError, match=r"config\.json|model\.safetensors") as refused:
        Predictor.load(tmp_path)
    assert refused.value.hint
    assert "Input should" not in refused.value.message
    assert "Value error" not in refused.value.message


def test_a_model_of_a_family_in_a_file_says_how_the_file_becomes_known(model: Path, tmp_path: Path) -> None:
    shutil.copytree(model, tmp_path, dirs_exist_ok=True)
    path = tmp_path / "config.json"
    path.write_text(changed("family", "mynet.py:MyNet@0123456789abcdef")(path.read_text()))
    with pytest.raises(DataError, match="whose file was never run in this storage folder") as refused:
        Predictor.load(tmp_path)
    assert "fer-tune check --family PATH/mynet.py:MyNet" in refused.value.hint


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_a_pipe_is_not_waited_for(model: Path, tmp_path: Path, name: str) -> None:
    shutil.copytree(model, tmp_path, dirs_exist_ok=True)
    (tmp_path / name).unlink()
    os.mkfifo(tmp_path / name)
    with pytest.raises(FerTuneError, match="not a regular file"):
        Predictor.load(tmp_path)


def test_weights_that_are_no_numbers_are_refused(model: Path, tmp_path: Path) -> None:
    shutil.copytree(model, tmp_path, dirs_exist_ok=True)
    weights = {name: value * float("nan") for name, value in load_file(model / "model.safetensors").items()}
    (tmp_path / "model.safetensors").write_bytes(save(weights))
    with pytest.raises(StorageError, match="not a finite number"):
        Predictor.load(tmp_path)


def test_final_fit_of_another_seed_is_another_model(tiny_data, tmp_path):
    spec = _final(tiny_data, tmp_path / "a", "simple_cnn")
    trainer = Trainer("cpu", threads=1)
    list(trainer.train_alone(spec))
    list(trainer.train_alone(dataclasses.replace(spec, seed=6, artifacts=tmp_path / "b")))
    assert (tmp_path / "a/model.safetensors").read_bytes() != (tmp_path / "b/model.safetensors").read_bytes()
