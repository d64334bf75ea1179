"""Tests of the Dockerfile as far as they go without a daemon."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def instructions() -> list[tuple[str, str]]:
    """Returns the instructions of the Dockerfile, each with its arguments in one line."""
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    lines = "\n".join(line for line in text.splitlines() if not line.startswith("#")).replace("\\\n", " ")
    found = [line.split(maxsplit=1) for line in lines.splitlines() if line.strip()]
    return [(word, " ".join(rest.split())) for word, rest in found]


def of(word: str) -> list[str]:
    return [rest for found, rest in instructions() if found == word]


def copied() -> list[str]:
    return [source for line in of("COPY") for source in line.split()[:-1]]


def test_it_begins_with_cuda_and_the_words_are_dockers() -> None:
    known = {"ARG", "FROM", "RUN", "ENV", "WORKDIR", "COPY", "VOLUME", "USER", "STOPSIGNAL", "ENTRYPOINT", "CMD"}
    assert {word for word, _ in instructions()} <= known
    assert of("FROM") == ["nvidia/cuda:${CUDA}"]
    assert re.fullmatch(r"CUDA=[0-9.]+-runtime-ubuntu24\.04", of("ARG")[0])


def test_what_it_copies_is_there_and_docker_may_see_it() -> None:
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert "*" in ignored
    for source in copied():
        assert (ROOT / source).exists(), source
        assert f"!{source}" in ignored
    assert {line[1:] for line in ignored if line.startswith("!")} == set(copied())


def test_it_installs_extras_that_exist_with_the_versions_that_are_tested() -> None:
    [line] = [line for line in of("RUN") if line.startswith("pip")]
    words = shlex.split(line)
    assert words[:2] == ["pip", "install"]
    assert words[words.index("-c") + 1] in copied()
    extras = re.fullmatch(r"\.\[(.*)\]", words[-1])
    assert extras is not None
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert {"postgres", "ray"} <= set(extras.group(1).split(",")) <= set(declared["optional-dependencies"])
    assert of("ENTRYPOINT") == [f'["{next(iter(declared["scripts"]))}"]']


def test_it_runs_as_another_user_than_root_who_owns_the_volume() -> None:
    order = [word for word, _ in instructions()]
    [user], [volume] = of("USER"), of("VOLUME")
    assert user not in ("root", "0")
    assert order.index("USER") > len(order) - 1 - order[::-1].index("RUN")  # nothing is installed by the user
    [made] = [line for line in of("RUN") if "useradd" in line]
    assert re.search(rf"useradd --uid \d{{5}} --create-home {user}\b", made)
    assert f"install -d -o {user} -g {user} {volume}" in made
    assert f"FER_TUNE_DIR={volume}" in of("ENV")[0]
    assert of("STOPSIGNAL") == ["SIGTERM"]  # which makes a run leave checkpoints


@pytest.mark.slow
def test_the_package_is_built_from_what_it_copies(tmp_path: Path) -> None:
    pytest.importorskip("setuptools", minversion="77")
    source, dist = tmp_path / "build", tmp_path / "dist"
    source.mkdir()
    for name in copied():
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, source / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(ROOT / name, source / name)
    build = "from setuptools import build_meta; import sys; to = sys.argv[1]; build_meta.build_wheel(to)"
    subprocess.run([sys.executable, "-c", build, str(dist)], cwd=source, check=True, capture_output=True)
    [wheel] = dist.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    assert {"fer_tune/__init__.py", "fer_tune/shipped/resnet.yaml", "fer_tune/cli/run.py"} <= names
