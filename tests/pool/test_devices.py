from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from fer_tune.errors import SettingsError
from fer_tune.pool import devices
from fer_tune.pool.devices import choose_device, choose_devices, cores, count_gpus, environment, threads_each


@pytest.fixture
def two_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "count_gpus", lambda: 2)


@pytest.fixture
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "count_gpus", lambda: 0)


@pytest.mark.usefixtures("two_gpus")
@pytest.mark.parametrize(
    ("text", "workers", "expected"),
    [
        (None, None, ["cuda:0", "cuda:1"]),
        ("auto", "auto", ["cuda:0", "cuda:1"]),
        ("cuda", 3, ["cuda:0", "cuda:1", "cuda:0"]),
        ("cuda:1", "auto", ["cuda:1"]),
        ("cuda:1, cuda:0", 2, ["cuda:1", "cuda:0"]),
        ("cpu", 2, ["cpu", "cpu"]),
        ("cuda:0,cpu", "auto", ["cuda:0", "cpu"]),
    ],
)
def test_workers_are_dealt_round_robin(text: str | None, workers: devices.Count | None, expected: list[str]) -> None:
    assert choose_devices(text, workers) == expected


@pytest.mark.usefixtures("no_gpu")
def test_without_a_gpu_auto_is_half_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "cores", lambda: 8)
    assert choose_devices() == ["cpu"] * 4
    monkeypatch.setattr(devices, "cores", lambda: 1)
    assert choose_devices() == ["cpu"]


@pytest.mark.usefixtures("two_gpus")
@pytest.mark.parametrize("text", ["gpu", "cuda:", "cuda:x", "cpu,", "cuda0", "tpu", "cuda:2", "cuda:0,cuda:7"])
def test_a_bad_name_is_refused_with_what_there_is(text: str) -> None:
    with pytest.raises(SettingsError, match="--devices") as caught:
        choose_devices(text)
    assert "cuda:0" in str(caught.value)


@pytest.mark.usefixtures("no_gpu")
def test_a_gpu_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="cuda:0 does not exist") as caught:
        choose_devices("cuda:0")
    assert "cpu" in caught.value.hint
    with pytest.raises(SettingsError, match="cuda does not exist"):
        choose_devices("cuda")


@pytest.mark.usefixtures("two_gpus")
@pytest.mark.parametrize(
    ("word", "expected"),
    [(None, "cuda:0"), ("auto", "cuda:0"), ("cuda", "cuda:0"), ("cuda:1", "cuda:1"), ("cpu", "cpu")],
)
def test_one_device_for_a_model(word: str | None, expected: str) -> None:
    assert choose_device(word) == expected


@pytest.mark.usefixtures("no_gpu")
@pytest.mark.parametrize("word", ["foo", "cuda:0", "cpu,cpu"])
def test_an_error_names_the_option_of_the_user(word: str) -> None:
    assert choose_device() == "cpu"
    with pytest.raises(SettingsError, match=r"--device\b") as caught:
        choose_device(word)
    assert "--devices" not in str(caught.value)
    assert ("Use --device cpu." in caught.value.hint) == (word == "cuda:0")
    if word != "cuda:0":
        assert f"a name such as cuda:0 (got {word})" in caught.value.message
    with pytest.raises(SettingsError, match="--devices"):
        choose_devices("cuda:0")


@pytest.mark.parametrize("workers", [0, -1])
def test_no_workers(workers: int) -> None:
    with pytest.raises(SettingsError, match="--workers"):
        choose_devices("cpu", workers)


def test_the_driver_is_asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(devices, "CUDA_LIBRARY", str(tmp_path / "libcuda.so.1"))
    assert count_gpus() == 0
    (tmp_path / "libcuda.so.1").write_text("no library")
    assert count_gpus() == 0


@pytest.mark.parametrize(
    ("quota", "expected"), [("150000 100000", 2), ("50000 100000", 1), ("max 100000", 64), ("", 64)]
)
def test_a_container_may_grant_fewer_cores(
    quota: str, expected: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: range(64))
    monkeypatch.setattr(devices, "CPU_QUOTA", tmp_path / "cpu.max")
    (tmp_path / "cpu.max").write_text(quota)
    assert cores() == expected


def test_threads_are_shared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "cores", lambda: 8)
    assert [threads_each(["cpu"] * workers) for workers in (1, 2, 3, 16)] == [8, 4, 2, 1]


@pytest.mark.parametrize(
    ("visible", "device", "expected"),
    [
        (None, "cuda:1", "1"),
        ("", "cpu", ""),
        ("2,3", "cuda:1", "3"),
        ("GPU-aa, GPU-bb", "cuda:1", "GPU-bb"),
        ("2,3", "cpu", ""),
    ],
)
def test_a_worker_sees_its_own_gpu_alone(
    visible: str | None, device: str, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    variables, inside = environment(device, 3)
    assert variables["CUDA_VISIBLE_DEVICES"] == expected
    assert variables["OMP_NUM_THREADS"] == "3"
    assert inside == ("cpu" if device == "cpu" else "cuda:0")


def test_a_workers_torch_looks_for_no_plug_ins_unless_the_user_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TORCH_DEVICE_BACKEND_AUTOLOAD", raising=False)
    assert environment("cpu", 1)[0]["TORCH_DEVICE_BACKEND_AUTOLOAD"] == "0"
    monkeypatch.setenv("TORCH_DEVICE_BACKEND_AUTOLOAD", "1")
    assert environment("cuda:0", 1)[0]["TORCH_DEVICE_BACKEND_AUTOLOAD"] == "1"


def test_the_orchestrators_side_needs_no_torch() -> None:
    code = "import sys, fer_tune.pool, fer_tune.pool.worker; print('torch' in sys.modules or 'optuna' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
