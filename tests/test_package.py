"""What is built and installed works without a checkout."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SWEEPS = {path.name for path in (ROOT / "sweeps").glob("*.yaml")}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Returns a folder with a wheel and an sdist, built from a copy of what git tracks."""
    pytest.importorskip("setuptools", minversion="77")
    tracked = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if tracked.returncode:
        pytest.skip("this is not a git checkout")
    source = tmp_path_factory.mktemp("source")
    for name in filter(None, tracked.stdout.split("\0")):
        if (ROOT / name).exists() and not name.startswith(("tests/", "benchmarks/results/", "docs/")):
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, source / name, follow_symlinks=False)
    folder = tmp_path_factory.mktemp("dist")
    build = (
        "from setuptools import build_meta; import sys; to = sys.argv[1]; "  # setuptools changes sys.argv
        "build_meta.build_sdist(to); build_meta.build_wheel(to)"
    )
    subprocess.run([sys.executable, "-c", build, str(folder)], cwd=source, check=True, capture_output=True)
    return folder


def test_wheel_and_sdist_hold_the_sweeps(built: Path) -> None:
    [wheel], [sdist] = built.glob("*.whl"), built.glob("*.tar.gz")
    with zipfile.ZipFile(wheel) as archive:
        inside = {Path(name).name for name in archive.namelist() if name.startswith("fer_tune/shipped/")}
        assert not any(name.startswith(("tests/", "benchmarks/")) for name in archive.namelist())
    assert inside == SWEEPS
    with tarfile.open(sdist) as files:
        names = {Path(*Path(name).parts[1:]).as_posix() for name in files.getnames()}
    assert {f"fer_tune/shipped/{name}" for name in SWEEPS} <= names


COMMANDS = """
import fer_tune, sys
from fer_tune.cli import main

print(fer_tune.__file__)
for words in (
    "init --all",
    "run demo --trials 1 --epochs 1 --engine inline --wandb disabled --quiet",
    "best --study demo",
):
    sys.argv = ["fer-tune", *words.split()]
    try:
        main()
    except SystemExit as end:
        if end.code:
            raise
"""
"""Commands that are given one after another in one process, which imports torch once."""


def test_an_installed_wheel_runs_the_demo_from_an_empty_folder(built: Path, tmp_path: Path) -> None:
    """The environment gets the wheel alone. It borrows the dependencies of the present one."""
    home, empty = tmp_path / "env", tmp_path / "empty"
    venv.create(home, with_pip=False)
    purelib = home / "lib" / f"python{sysconfig.get_python_version()}" / "site-packages"
    [wheel] = built.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(purelib)
    # The path of the wheel comes first, so the checkout that is installed here is not used.
    (purelib / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n")
    empty.mkdir()
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}

    done = subprocess.run(
        [str(home / "bin" / "python"), "-c", COMMANDS], cwd=empty, env=environment, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    where, *printed = done.stdout.splitlines()
    assert where.startswith(str(home))
    assert "sweeps/resnet.yaml" in printed
    assert any(line.startswith("demo") for line in printed[printed.index("sweeps/resnet.yaml") + 1 :])
