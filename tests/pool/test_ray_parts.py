"""What each worker takes of a Ray cluster, how a run reaches it, and the files on its nodes."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from fer_tune.data.spec import DataRef
from fer_tune.errors import MissingExtraError, SettingsError
from fer_tune.job import Job
from fer_tune.models import FAMILIES, start_weights
from fer_tune.pool import ray_cluster
from fer_tune.pool.engines import engine
from fer_tune.pool.ray_cluster import Claim, Cluster, claim_of
from fer_tune.pool.ray_files import SPLIT, NodeFiles, pack_family, pack_images
from fer_tune.settings import Settings

from .conftest import job

GPUS = {"CPU": 16.0, "GPU": 4.0}
CPUS = {"CPU": 5.0}


@pytest.mark.parametrize(
    ("devices", "auto", "nodes", "claim"),
    [
        (None, True, [CPUS, GPUS], Claim(1, 1)),
        ("cuda/2", False, [GPUS], Claim(0.5, 1)),
        ("auto", True, [CPUS], Claim(0, 2)),
        ("cpu", True, [{"CPU": 1.0}], Claim(0, 1)),
        ("cpu", False, [CPUS, GPUS], Claim(0, 1)),
    ],
)
def test_what_a_worker_takes(devices: str | None, auto: bool, nodes: list[dict[str, float]], claim: Claim) -> None:
    assert claim_of(devices, auto, nodes) == claim


@pytest.mark.parametrize(
    ("claim", "node", "places"),
    [
        (Claim(1, 1), GPUS, 4),
        (Claim(1 / 3, 1), GPUS, 12),
        (Claim(1 / 3, 1), {"CPU": 8.0, "GPU": 4.0}, 8),
        (Claim(1, 1), CPUS, 0),
        (Claim(0, 2), CPUS, 2),
        (Claim(0, 1), {}, 0),
    ],
)
def test_how_many_workers_a_node_holds(claim: Claim, node: dict[str, float], places: int) -> None:
    assert claim.places(node) == places


@pytest.mark.parametrize("devices", ["cuda:1", "cuda/0", "gpu", "cuda,cuda"])
def test_ray_chooses_the_gpu(devices: str) -> None:
    with pytest.raises(SettingsError, match="cpu, cuda or cuda/K") as caught:
        claim_of(devices, True, [GPUS])
    assert "cuda/2" in caught.value.hint


def test_a_cluster_without_gpus_says_so() -> None:
    with pytest.raises(SettingsError, match="has no GPU") as caught:
        claim_of("cuda", True, [CPUS])
    assert "--devices cpu" in caught.value.hint


def test_without_ray_the_error_has_the_command_that_installs_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtraError, match="engine ray") as caught:
        engine("ray").devices(None, "auto")
    assert caught.value.hint == "pip install 'fer-tune[ray]'"


def test_an_address_needs_the_engine() -> None:
    with pytest.raises(SettingsError, match="--ray-address is for the engine ray") as caught:
        engine("local", "auto")
    assert "--engine ray" in caught.value.hint


class NoRay(ModuleType):
    """Ray as it is where no cluster runs."""

    def is_initialized(self) -> bool:
        return False

    def init(self, **_: Any) -> None:
        raise ConnectionError("could not find any running Ray instance")


@pytest.fixture
def no_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_cluster, "import_ray", lambda: NoRay("ray"))


@pytest.mark.usefixtures("no_cluster")
@pytest.mark.parametrize(
    ("address", "said"),
    [
        (None, "There is no Ray cluster on this machine"),
        ("auto", "There is no Ray cluster on this machine"),
        ("127.0.0.1:1", "There is no Ray cluster at 127.0.0.1:1"),
        ("ray://127.0.0.1:1", "There is no Ray cluster at ray://127.0.0.1:1"),
        ("127.0.0.1:99999", "There is no Ray cluster at 127.0.0.1:99999"),
        ("somewhere", "--ray-address must be auto, local, HOST:PORT or ray://HOST:PORT"),
    ],
)
def test_an_address_without_a_cluster(address: str | None, said: str) -> None:
    with pytest.raises(SettingsError, match=said) as caught:
        Cluster(address)
    assert "ray start --head" in caught.value.hint


@pytest.mark.usefixtures("no_cluster")
def test_a_number_of_workers_is_checked_first() -> None:
    with pytest.raises(SettingsError, match="--workers must be between 1 and"):
        engine("ray").devices(None, 0)


class TestNodeFiles:
    """A node that does not share the storage."""

    @pytest.fixture
    def files(self, tmp_path: Path) -> NodeFiles:
        return NodeFiles(tmp_path / "node")

    @pytest.fixture
    def sent(self, tmp_path: Path) -> Job:
        cache, split = tmp_path / "cache", tmp_path / "split.npz"
        cache.mkdir()
        (cache / "images.npy").write_bytes(b"images")
        (cache / "meta.json").write_bytes(b"{}")
        split.write_bytes(b"split")
        data = DataRef(cache, "s" * 64, split, "h" * 64)
        return replace(job(), data=data, artifacts=tmp_path / "trial", checkpoint=tmp_path / "c.safetensors")

    def test_a_job_finds_its_images_its_split_and_its_checkpoint(self, files: NodeFiles, sent: Job) -> None:
        placed = files.place(sent, pack_images(sent), b"state")
        assert {path.name: path.read_bytes() for path in placed.data.cache.iterdir()} == {
            "images.npy": b"images",
            "meta.json": b"{}",
            SPLIT: b"split",
        }
        assert placed.data.split.read_bytes() == b"split"
        assert placed.checkpoint is not None
        assert placed.checkpoint.read_bytes() == b"state"
        assert placed.artifacts is not None
        for path in (placed.data.cache, placed.checkpoint, placed.artifacts):
            assert path.is_relative_to(files.root)
        assert replace(placed, data=sent.data, artifacts=sent.artifacts, checkpoint=sent.checkpoint) == sent

    def test_an_old_checkpoint_of_the_job_is_not_continued_from(self, files: NodeFiles, sent: Job) -> None:
        files.place(sent, {}, b"state")
        placed = files.place(sent, {}, None)
        assert placed.checkpoint is not None
        assert not placed.checkpoint.exists()

    def test_a_checkpoint_is_sent_once(self, files: NodeFiles, sent: Job) -> None:
        placed = files.place(sent, {}, b"state")
        assert files.new_checkpoint(sent.uid) is None
        assert placed.checkpoint is not None
        draft = placed.checkpoint.with_name("draft")
        draft.write_bytes(b"newer")
        draft.rename(placed.checkpoint)
        assert bytes(files.new_checkpoint(sent.uid)) == b"newer"  # type: ignore[arg-type]
        assert files.new_checkpoint(sent.uid) is None

    def test_two_workers_of_a_node_share_the_images(self, tmp_path: Path, sent: Job) -> None:
        first = NodeFiles(tmp_path / "node").place(sent, pack_images(sent), None)
        written = (first.data.cache / "images.npy").stat()
        second = NodeFiles(tmp_path / "node").place(sent, pack_images(sent), None)
        assert first.data == second.data
        assert (second.data.cache / "images.npy").stat() == written

    def test_images_that_were_cut_short_are_written_again(self, files: NodeFiles, sent: Job) -> None:
        for damage in (b"", b"imag"):
            place = files.place(sent, pack_images(sent), None).data.cache
            (place / "images.npy").write_bytes(damage)
            assert files.place(sent, pack_images(sent), None).data.cache == place
            assert (place / "images.npy").read_bytes() == b"images"

    def test_a_job_finds_what_its_family_needs(
        self, files: NodeFiles, sent: Job, settings: Settings, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        digest = "0123456789abcdef"
        for folder, name in ((settings.families, f"{digest}.py"), (settings.weights, f"{digest}.safetensors")):
            folder.mkdir(parents=True)
            (folder / name).write_text(name)
        for family, path in (
            (f"mynet.py:MyNet@{digest}", f"families/{digest}.py"),
            (f"torchvision/resnet18@{digest}", f"weights/{digest}.safetensors"),
        ):
            one = replace(sent, family=family)
            packed = pack_family(one)
            assert list(packed) == [path]
            files.place(one, {}, None, packed)
            assert (files.root / path).read_text() == Path(path).name
        assert pack_family(sent) == {}
        monkeypatch.setenv("FER_TUNE_DIR", str(files.root))  # as the worker has it
        assert f"mynet.py:MyNet@{digest}" in FAMILIES
        assert start_weights.is_here(f"torchvision/resnet18@{digest}")

    def test_what_a_killed_worker_left_is_removed(self, files: NodeFiles) -> None:
        """A killed process has no lock any more."""
        gone = files.root / "workers" / "gone"
        gone.mkdir()
        (gone / "c.safetensors").write_bytes(b"state")
        files.log.write_text("it lives")
        NodeFiles(files.root)
        assert not gone.exists()
        assert files.log.exists()

    def test_nothing_but_the_images_stays(self, files: NodeFiles, sent: Job) -> None:
        placed = files.place(sent, pack_images(sent), b"state")
        assert placed.artifacts is not None
        placed.artifacts.mkdir()
        files.forget(sent.uid)
        assert not placed.artifacts.exists()
        assert placed.checkpoint is not None
        assert not placed.checkpoint.exists()
        files.close()
        left = {path.name for path in files.root.rglob("*") if path.is_file()}
        assert left == {"images.npy", "meta.json", SPLIT}
