"""The export to ONNX: the same probabilities in ONNX Runtime, for any number of images."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fer_tune import api
from fer_tune.data.spec import DataRef
from fer_tune.errors import MissingExtraError, SettingsError, StorageError
from fer_tune.models import FAMILIES
from fer_tune.train.ensemble import save_ensemble
from tests.model_folder import untrained
from tests.train.test_export import _fit

ROOT = Path(__file__).parents[2]
IMAGES = np.random.default_rng(0).integers(0, 255, (9, 48, 48), dtype=np.uint8)


def answer(file: Path, images: np.ndarray) -> np.ndarray:
    onnxruntime = pytest.importorskip("onnxruntime")
    session = onnxruntime.InferenceSession(file.read_bytes(), providers=["CPUExecutionProvider"])
    [found] = session.run(["probabilities"], {"images": images[:, None]})
    return np.asarray(found)


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_onnx_runtime_computes_what_torch_computes(few_data: DataRef, tmp_path: Path, family: str) -> None:
    pytest.importorskip("onnxscript")
    _fit(few_data, tmp_path / "model", family)
    assert api.export(tmp_path / "model", tmp_path / "model.onnx") < 1e-3
    expected = api.load_model(tmp_path / "model").predict(IMAGES)
    for count in (1, 9):
        assert np.allclose(answer(tmp_path / "model.onnx", IMAGES[:count]), expected[:count], atol=1e-3)


def test_an_ensemble_is_one_file(few_data: DataRef, tmp_path: Path) -> None:
    pytest.importorskip("onnxscript")
    _fit(few_data, tmp_path / "a")
    _fit(few_data, tmp_path / "b", width=16, crop=40)
    save_ensemble(tmp_path / "both", [(tmp_path / "a", 3), (tmp_path / "b", 1)], {})
    assert api.export(tmp_path / "both", tmp_path / "both.onnx") < 1e-3
    expected = api.load_model(tmp_path / "both").predict(IMAGES)
    assert np.allclose(answer(tmp_path / "both.onnx", IMAGES), expected, atol=1e-3)


def test_the_example_of_the_documentation_runs(
    few_data: DataRef, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("onnxscript")
    _fit(few_data, tmp_path / "model")
    monkeypatch.chdir(tmp_path)
    api.export("model", "model.onnx")
    Image.fromarray(IMAGES[0]).save("face.jpg")
    page = (ROOT / "docs" / "final-models.md").read_text(encoding="utf-8")
    [example] = [block for block in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if "onnxruntime" in block]
    exec(example, {})
    assert capsys.readouterr().out.strip() in few_data.spec.classes


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "member-0/model.safetensors", "new.bin"])
def test_files_of_the_model_are_not_replaced(few_data: DataRef, tmp_path: Path, name: str) -> None:
    folder = untrained(tmp_path / "model", few_data.spec)
    untrained(folder / "member-0", few_data.spec)
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    (tmp_path / "link").symlink_to(folder)
    for place in (folder, tmp_path / "link"):
        with pytest.raises(SettingsError, match="is in the folder of the model") as refused:
            api.export(folder, place / name)
        assert ".onnx" in refused.value.hint
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


def test_an_onnx_file_may_be_beside_the_weights(few_data: DataRef, tmp_path: Path) -> None:
    pytest.importorskip("onnxscript")
    folder = untrained(tmp_path / "model", few_data.spec)
    for _ in range(2):  # the second time it replaces the first file
        assert api.export(folder, folder / "model.onnx") < 1e-3


def test_a_target_that_cannot_be_written_is_said_before_the_work(
    few_data: DataRef, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("onnxscript")
    monkeypatch.setattr("fer_tune.train.onnx._converted", lambda *_: pytest.fail("it was converted"))
    with pytest.raises(StorageError, match="not a regular file"):
        api.export(untrained(tmp_path / "model", few_data.spec), tmp_path)
    with pytest.raises(SettingsError, match="onnx is an empty text"):
        api.export(tmp_path / "model", "")


def test_a_missing_extra_says_its_install_command(
    few_data: DataRef, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    _fit(few_data, tmp_path)
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(MissingExtraError) as caught:
        api.export(tmp_path, tmp_path / "model.onnx")
    assert caught.value.hint == "pip install 'fer-tune[onnx]'"
    assert not (tmp_path / "model.onnx").exists()
