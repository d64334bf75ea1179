"""The sweeps that come with fer-tune are found by name, wherever the user is."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from fer_tune.cli.app import app
from fer_tune.errors import SweepError
from fer_tune.sweep import load_sweep, load_sweeps, shipped


@pytest.fixture(autouse=True)
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Changes to an empty folder."""
    folder = tmp_path / "empty"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def test_a_sweep_is_found_by_name_from_any_folder() -> None:
    [sweep] = load_sweeps([Path("demo")])
    assert sweep.study == "demo"
    assert shipped.names() == ["deep_cnn", "demo", "resnet", "simple_cnn", "vgg"]


def test_a_file_in_the_local_folder_comes_first(empty_folder: Path) -> None:
    copies = shipped.copy_all()
    assert [path.name for path in copies] == [f"{name}.yaml" for name in shipped.names()]
    local = empty_folder / "sweeps" / "demo.yaml"
    local.write_text(local.read_text().replace("family: simple_cnn", "family: simple_cnn\nseed: 77"))
    assert load_sweeps([Path("demo")])[0].seed == 77


def test_a_name_also_means_a_sweep_of_the_users_own_in_the_local_folder(empty_folder: Path) -> None:
    (empty_folder / "sweeps").mkdir()
    (empty_folder / "sweeps" / "mine.yaml").write_text((shipped.FOLDER / "demo.yaml").read_text())
    assert load_sweeps([Path("mine")])[0].study == "mine"


def test_what_is_in_the_current_folder_comes_before_both(empty_folder: Path) -> None:
    (empty_folder / "demo").mkdir()
    (empty_folder / "demo" / "other.yaml").write_text((shipped.FOLDER / "demo.yaml").read_text())
    assert load_sweeps([Path("demo")])[0].study == "other"


def test_a_folder_of_images_does_not_hide_the_sweep_of_its_name(empty_folder: Path) -> None:
    (empty_folder / "demo" / "happy").mkdir(parents=True)
    assert load_sweeps([Path("demo")])[0].study == "demo"
    (empty_folder / "faces").mkdir()
    with pytest.raises(SweepError, match="has no sweep"):
        load_sweeps([Path("faces")])


def test_copies_are_the_shipped_sweeps_and_replace_nothing(empty_folder: Path) -> None:
    shipped.copy_all()
    assert load_sweep(empty_folder / "sweeps" / "resnet.yaml").text == (shipped.FOLDER / "resnet.yaml").read_text()
    (empty_folder / "sweeps" / "vgg.yaml").unlink()
    with pytest.raises(SweepError, match=r"sweeps/deep_cnn\.yaml.*cannot be overwritten"):
        shipped.copy_all()
    assert not (empty_folder / "sweeps" / "vgg.yaml").exists()


def test_an_unknown_name_is_answered_with_the_names_that_exist() -> None:
    with pytest.raises(SweepError) as error:
        load_sweeps([Path("alexnet")])
    assert "deep_cnn, demo, resnet, simple_cnn, vgg" in (error.value.hint or "")
    with pytest.raises(SweepError) as error:
        load_sweeps([Path("resnt")])
    assert (error.value.hint or "").startswith("Did you mean resnet? ")


def test_init_copies_all_or_prints_one() -> None:
    run = CliRunner().invoke
    assert run(app, ["init", "--all"]).stdout.splitlines() == [f"sweeps/{name}.yaml" for name in shipped.names()]
    assert run(app, ["init", "resnet"]).stdout.count("family: resnet") == 1
    for words in (["init"], ["init", "resnet", "--all"]):
        answer = run(app, words)
        assert answer.exit_code == 2
        assert "needs either a family or --all" in answer.output
