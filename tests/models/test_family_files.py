"""A family in a file of the user's own: how it is named, kept and refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

import fer_tune
from fer_tune.cli.app import app
from fer_tune.errors import StorageError, SweepError, TrainingError
from fer_tune.models import FAMILIES, Family, family_files
from fer_tune.settings import Settings
from fer_tune.sweep.load import loads_sweep
from fer_tune.train.conformance import conformance

PLAIN = '''
from typing import Literal
from torch import nn

class MyNet(nn.Module):
    """A network of my own."""
    halvings = 2

    def __init__(self, spec, width: int = 4, act: Literal["relu", "gelu"] = "relu", dropout: float = 0.1):
        super().__init__()
        left = spec.side // 4
        self.body = nn.Sequential(
            nn.Conv2d(spec.channels, width, 3, padding=1), nn.BatchNorm2d(width),
            nn.ReLU() if act == "relu" else nn.GELU(), nn.MaxPool2d(4), nn.Flatten(), nn.Dropout(dropout),
            nn.Linear(width * left * left, len(spec.classes)),
        )

    def forward(self, x):
        return self.body(x)

WRONG = 3
'''
SWEEP = """
family: ./mynet.py:MyNet
data: demo
budget: {trials: 1, epochs: 1}
params:
  width: {choices: [4, 8]}
  act: gelu
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "mynet.py"
    file.write_text(PLAIN)
    (tmp_path / "mine.yaml").write_text(SWEEP)
    return file


def test_a_sweep_names_a_network_in_a_file(file: Path) -> None:
    [sweep] = fer_tune.check(file.with_name("mine.yaml"))
    assert sweep.family.startswith("mynet.py:MyNet@")
    assert sorted(sweep.space) == ["act", "width"]
    family = FAMILIES[sweep.family]
    assert family.summary == "A network of my own."
    assert family.halvings == 2
    assert all(not one.wrong for one in conformance(family)), list(conformance(family))


def test_the_text_that_a_study_keeps_needs_no_file(file: Path, settings: Settings) -> None:
    [sweep] = fer_tune.check(file.with_name("mine.yaml"))
    file.unlink()
    assert loads_sweep(sweep.text, Path("mine.yaml")).signature() == sweep.signature()


def test_the_command_line_changes_its_hyperparameters(file: Path) -> None:
    [sweep] = fer_tune.check(file.with_name("mine.yaml"), ["act=relu"])
    assert sweep.space["act"].domain.plain() == "relu"


def forget(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes this process one that has read no file, such as a worker."""
    monkeypatch.setattr(family_files, "_sources", {})
    monkeypatch.setattr(family_files, "_families", {})


def test_other_processes_read_the_copy_of_a_run(
    file: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = family_files.register("mynet.py:MyNet", file.parent)
    family_files.keep(name, settings)
    file.write_text(PLAIN.replace("halvings = 2", "halvings = 3"))  # later changes do not matter
    forget(monkeypatch)
    assert name in FAMILIES
    assert FAMILIES[name].halvings == 2
    assert family_files.register("mynet.py:MyNet", file.parent) != name


def test_a_name_reads_no_file_that_was_never_run_here(file: Path, settings: Settings) -> None:
    for name in ("mynet.py:MyNet@0123456789abcdef", "../mynet.py:MyNet@0123456789abcdef", str(file) + ":MyNet"):
        assert name not in FAMILIES
        with pytest.raises(TrainingError):
            FAMILIES[name]


def test_a_copy_that_was_changed_is_refused(file: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    name = family_files.register("mynet.py:MyNet", file.parent)
    family_files.keep(name, settings)
    [copy] = settings.families.iterdir()
    copy.write_text("raise SystemExit")
    forget(monkeypatch)
    with pytest.raises(StorageError, match="was changed"):
        FAMILIES[name]


@pytest.mark.parametrize(
    ("named", "source", "says"),
    [
        ("mynet.py:WRONG", PLAIN, "must be a fer_tune.models.Family or a subclass of torch.nn.Module"),
        ("mynet.py:Nothing", PLAIN, "mynet.py has no Nothing. It has: MyNet"),
        ("nowhere.py:MyNet", PLAIN, "nowhere.py cannot be read"),
        ("mynet.py:MyNet", "1 / 0", "ZeroDivisionError"),
        ("mynet.py:MyNet", PLAIN.replace("width: int = 4", "width"), "width of mynet.py:MyNet must"),
        ("mynet.py:MyNet", PLAIN.replace("width: int = 4", "width: str = 'a'"), "must have a default"),
    ],
)
def test_what_is_no_family_is_a_problem_of_the_sweep(file: Path, named: str, source: str, says: str) -> None:
    file.write_text(source)
    with pytest.raises(SweepError, match=r"line 2: family: ") as found:
        loads_sweep(SWEEP.replace("./mynet.py:MyNet", named), file.with_name("mine.yaml"))
    assert says in str(found.value)
    assert len(found.value.problems) == 1


def test_a_sweep_to_begin_with_is_printed_for_a_file(file: Path) -> None:
    shown = CliRunner().invoke(app, ["init", f"{file}:MyNet"])
    assert shown.exit_code == 0, shown.output
    sweep = loads_sweep(shown.stdout, file.with_name("mine.yaml"))
    assert sweep.family.startswith("mynet.py:MyNet@")
    assert "# study: MyNet " in shown.stdout
    assert "  # width: 4\n" in shown.stdout
    assert CliRunner().invoke(app, ["init", "nowhere.py:MyNet"]).exit_code == 2


def test_check_says_what_is_wrong_with_a_family(file: Path) -> None:
    shown = CliRunner().invoke(app, ["check", "--family", f"{file}:MyNet"])
    assert shown.exit_code == 0, shown.output
    assert "ok  images of any size and colour become logits" in shown.stdout
    file.write_text(
        PLAIN.replace("len(spec.classes)", "7").replace("dropout: float", "lr: float").replace("(dropout)", "(lr)")
    )
    shown = CliRunner().invoke(app, ["check", "--family", f"{file}:MyNet"])
    assert shown.exit_code == 1
    assert "gave [3, 7] in place of [3, 3]" in shown.stdout
    assert (
        "wrong  hyperparameters have names of their own: these are hyperparameters of the training: lr" in shown.stdout
    )
    assert CliRunner().invoke(app, ["check", "--family", "alexnet"]).exit_code == 2


@pytest.mark.parametrize("name", sorted(FAMILIES))
def test_our_own_families_pass_the_same_test(name: str) -> None:
    assert [one for one in conformance(FAMILIES[name]) if one.wrong] == []


def test_a_family_of_a_file_keeps_its_bounds(file: Path) -> None:
    file.write_text(
        "from pydantic import Field\nfrom fer_tune.models import Family, FamilyConfig\n"
        "class Own(FamilyConfig):\n    '''Mine.'''\n    width: int = Field(4, ge=2, le=8)\n"
        "FAMILY = Family('own', Own, lambda config, spec: None, 1, multiple=4)\n"
    )
    family = FAMILIES[family_files.register("mynet.py:FAMILY", file.parent)]
    assert isinstance(family, Family)
    assert family.multiple == 4
    assert family.config.model_validate({"width": 8})
    with pytest.raises(ValueError, match="less than or equal to 8"):
        family.config.model_validate({"width": 9})
