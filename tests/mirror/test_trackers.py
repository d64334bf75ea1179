"""MLflow and TensorBoard as trackers, with the real packages where they are installed.

Each brings a run twice, and reopens it: every row must be there once.
"""

from __future__ import annotations

from dataclasses import replace
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest

from fer_tune.errors import SettingsError
from fer_tune.mirror import trackers
from fer_tune.mirror.outbox import Outbox
from fer_tune.mirror.sync import sync
from fer_tune.mirror.tracker import Adapter, Bundle, Run
from fer_tune.mirror.trackers import TRACKERS, adapter
from fer_tune.settings import Settings
from fer_tune.store import Store
from tests.mirror.jobs import begin, end, train

pytestmark = pytest.mark.filterwarnings("ignore")
"""The packages warn of their own parts."""

HISTORY = tuple({"epoch": epoch, "val_accuracy": 0.1 * epoch, "recall/angry": 0.5} for epoch in (1, 2, 3))


def run_of(epochs: int = 3, *, over: bool = True, tags: tuple[str, ...] = ("net.py:Net@12", "best")) -> Run:
    return Run(
        job="a1",
        id="a1",
        name="tiny-00001",
        group="tiny",
        job_type="search",
        tags=tags,
        config={"lr": 1e-3, "optimizer": "sgd", "flag": True},
        history=HISTORY[:epochs],
        summary={"state": "complete" if over else "running", "objective_value": 0.3},
        over=over,
    )


class Mine(Adapter):
    name = "mine"


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> Any:
    def install(name: str, value: str) -> None:
        point = EntryPoint(name, value, trackers.GROUP)
        monkeypatch.setattr(trackers, "entry_points", lambda group: [point])
        forget()

    def forget() -> None:
        trackers._points.cache_clear()
        trackers._load.cache_clear()

    yield install
    monkeypatch.undo()
    forget()


def test_a_package_names_a_tracker_by_an_entry_point(installed: Any) -> None:
    installed("mine", f"{__name__}:Mine")
    assert isinstance(adapter("mine"), Mine)
    assert list(TRACKERS) == ["mine", "wandb", "mlflow", "tensorboard"]
    installed("other", f"{__name__}:Mine")
    with pytest.raises(SettingsError, match="must be a subclass of Adapter with the name other"):
        adapter("other")
    installed("mine", "no_such_module:X")
    with pytest.raises(SettingsError, match="The tracker mine of no_such_module:X cannot be imported"):
        adapter("mine")
    with pytest.raises(SettingsError, match="There is no tracker nothing"):
        adapter("nothing")


@pytest.mark.parametrize("name", ["mlflow", "tensorboard"])
def test_a_tracker_is_off_until_it_is_asked_for(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert adapter(name).mode(None) == "disabled"
    assert adapter(name).on_request is not None
    monkeypatch.setenv("FER_TUNE_TRACKERS", "tensorboard, mlflow")
    assert adapter(name).mode(None) == adapter(name).on_request


def test_the_password_of_a_server_is_not_shown(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "postgresql://me:s%21cret@host/runs")
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "token5")
    assert adapter("mlflow").place(settings, "online") == "postgresql://me:***@host/runs"
    assert adapter("mlflow").redact("s!cret s%21cret token5 me") == "*** *** *** me"


def test_the_place_is_what_the_trackers_own_program_takes(settings: Settings) -> None:
    assert adapter("mlflow").place(settings, "online") == f"sqlite:///{settings.root}/mlflow/mlflow.db"
    assert adapter("tensorboard").place(settings, "offline") == str(settings.root / "tensorboard")


# MLflow ---------------------------------------------------------------------------------------------------------------


@pytest.fixture
def mlflow(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Returns a tracker with a database of its own, and its client."""
    pytest.importorskip("mlflow", reason="mlflow-skinny is not installed")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return adapter("mlflow").connect(settings, "online")


def found(tracker: Any) -> Any:
    client = tracker._client
    [run] = client.search_runs([client.get_experiment_by_name("tiny").experiment_id])
    history = {name: client.get_metric_history(run.info.run_id, name) for name in run.data.metrics}
    return run, {name: [(one.step, one.value) for one in values] for name, values in history.items()}


@pytest.mark.slow
def test_mlflow_has_each_row_once(mlflow: Any, settings: Settings) -> None:
    mlflow.bring(run_of(1, over=False))
    run, history = found(mlflow)
    assert (run.info.status, history["val_accuracy"]) == ("RUNNING", [(1, 0.1)])
    again = adapter("mlflow").connect(settings, "online")  # another mirror continues
    file = settings.root / "model.bin"
    file.write_bytes(b"weights")
    for _ in range(2):
        again.bring(replace(run_of(), bundles=(Bundle("tiny-model", "model", (file,)),)))
    assert (settings.root / "mlflow" / "artifacts").is_dir(), "nothing is written outside of the storage folder"
    assert [path.read_bytes() for path in (settings.root / "mlflow").rglob("model.bin")] == [b"weights"]
    run, history = found(again)
    assert run.info.status == "FINISHED"
    assert run.info.run_name == "tiny-00001"
    assert history["val_accuracy"] == [(1, 0.1), (2, 0.2), (3, pytest.approx(0.3))]
    assert [step for step, _ in history["epoch"]] == [1, 2, 3]
    assert history["summary/objective_value"] == [(0, 0.3)]
    assert run.data.params == {"lr": "0.001", "optimizer": "sgd", "flag": "True"}
    assert run.data.tags["best"] == run.data.tags["net.py:Net_12"] == "true"
    again.bring(run_of(tags=()))  # another trial became the best
    assert "best" not in found(again)[0].data.tags


@pytest.mark.slow
def test_mlflow_gets_a_study_of_the_past(store: Store, mlflow: Any) -> None:
    Outbox(store, "tiny", mlflow, "mlflow").copy(everything=True)
    client = mlflow._client
    runs = client.search_runs([client.get_experiment_by_name("tiny").experiment_id])
    assert sorted(run.info.run_name for run in runs) == [f"tiny-{number:05d}" for number in range(5)]
    assert all(cursor.finished for cursor in store.cursors.of("tiny", "mlflow").values())
    assert Outbox(store, "tiny", mlflow, "mlflow").copy(everything=True) == 0


# TensorBoard ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def tensorboard(settings: Settings) -> Any:
    pytest.importorskip("tensorboard", reason="tensorboard is not installed")
    return adapter("tensorboard").connect(settings, "offline")


def scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder))
    events.Reload()
    return {name: [(one.step, one.value) for one in events.Scalars(name)] for name in events.Tags()["scalars"]}


def hyperparameters(folder: Path) -> dict[str, Any]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.plugins.hparams import metadata

    events = EventAccumulator(str(folder))
    events.Reload()
    content = events.SummaryMetadata(metadata.SESSION_START_INFO_TAG).plugin_data.content
    begin = metadata.parse_session_start_info_plugin_data(content)
    return {name: getattr(value, value.WhichOneof("kind")) for name, value in begin.hparams.items()}


@pytest.mark.slow
def test_tensorboard_has_each_row_once(tensorboard: Any, settings: Settings) -> None:
    tensorboard.bring(run_of(1, over=False))
    for _ in range(2):
        tensorboard.bring(run_of())
    folder = settings.root / "tensorboard" / "tiny" / "tiny-00001"
    shown = scalars(folder)
    assert shown["val_accuracy"] == [(1, pytest.approx(0.1)), (2, pytest.approx(0.2)), (3, pytest.approx(0.3))]
    assert shown["summary/objective_value"] == [(3, pytest.approx(0.3))]
    assert len(list(folder.iterdir())) == 1
    assert hyperparameters(folder) == {"lr": 1e-3, "optimizer": "sgd", "flag": True}
    assert [path.name for path in folder.parent.iterdir()] == ["tiny-00001"]


@pytest.mark.slow
def test_a_copy_in_another_place_is_asked_for(
    store: Store, tensorboard: Any, settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert sync(settings, store, "tiny", tracker="tensorboard").runs == 5
    monkeypatch.setenv("FER_TUNE_TENSORBOARD", str(tmp_path / "other"))
    assert sync(settings, store, "tiny", tracker="tensorboard").place == str(tmp_path / "other")
    assert not (tmp_path / "other").exists(), "each run was copied already"
    assert sync(settings, store, "tiny", tracker="tensorboard", again=True).runs == 5
    assert len(list((tmp_path / "other" / "tiny").iterdir())) == 5


@pytest.mark.slow
def test_tensorboard_gets_the_past_and_final_fits(store: Store, tensorboard: Any, settings: Settings) -> None:
    job = begin(store, 9, kind="final")
    train(store, job, {1: 0.4, 2: 0.5})
    end(store, job, "failed")
    assert Outbox(store, "tiny", tensorboard, "tensorboard").copy(everything=True) == 6
    folder = settings.root / "tensorboard" / "tiny"
    assert len(list(folder.iterdir())) == 6
    assert scalars(folder / f"tiny-final-{job.uid}")["val_accuracy"] == [(1, pytest.approx(0.4)), (2, 0.5)]
