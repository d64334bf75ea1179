"""A report as a run of wandb's: real offline files, read back by wandb's own reader."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from fer_tune import api
from fer_tune.cli.app import app
from fer_tune.errors import SettingsError
from fer_tune.settings import Settings
from fer_tune.store import Store
from tests.mirror.reading import records
from tests.mirror.server import KEY, Wandb
from tests.studies import make_study


@pytest.mark.slow
def test_a_report_is_a_run_of_its_studys_group(settings: Settings, tmp_path: Path) -> None:
    with make_study(settings) as store:
        uid = store.studies.get("tiny").uid
    for _ in range(2):  # a second report replaces the first
        answer = CliRunner().invoke(app, ["report", "--study", "tiny", "--out", str(tmp_path / "r.html"), "--wandb"])
        assert answer.exit_code == 0, answer.output
    [file] = settings.wandb.glob("offline-run-*/run-*.wandb")
    known = records(file)
    told = {record["type"]: record[record["type"]] for record in known}
    summary = {name: of for one in known for name, of in one.get("summary", {}).get("update", {}).items()}
    assert file.stem == f"run-report-{uid}"
    assert (told["run"]["run_group"], told["run"]["job_type"]) == ("tiny", "report")
    assert (summary["best_value"], summary["baseline"], summary["trials"]) == (0.6, 0.5, 5)
    assert {"report._type", "trials._type", "epochs._type"} <= set(told["history"]["item"])
    folder = file.parent
    assert str(folder) in answer.output.replace("\n", "")
    [page] = folder.glob("files/media/html/*.html")
    assert "What the sweeps found" in page.read_text("utf-8")
    tables = {file.name.partition("_")[0]: json.loads(file.read_text()) for file in folder.glob("files/media/table/*")}
    assert set(tables) == {"trials", "epochs"}
    assert len(tables["trials"]["data"]) == 5
    assert {"number", "value", "params.lr", "params.width"} <= set(tables["trials"]["columns"])
    assert len(tables["epochs"]["data"]) == 11


@pytest.mark.slow
def test_a_report_is_on_the_server(
    settings: Settings, store: Store, server: Wandb, monkeypatch: pytest.MonkeyPatch
) -> None:
    import wandb

    monkeypatch.setenv("WANDB_BASE_URL", server.url)
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    wandb.teardown()  # it read the variables when this process first used it
    for _ in range(2):  # the second continues the run
        assert api.publish_report(["tiny"]) == [f"{server.url}/tester/fer-tune/runs/report-{uid_of_study(store)}"]
    [run] = server.runs.values()
    assert (run.group, run.state, len(run.history)) == ("tiny", "finished", 2)
    assert {"report", "trials", "epochs"} <= set(run.history[0])
    assert server.unknown == []
    assert not list(settings.wandb.glob("run-*"))


def uid_of_study(store: Store) -> str:
    return store.studies.get("tiny").uid


def test_a_report_is_not_logged_where_wandb_is_disabled(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    make_study(settings).close()
    monkeypatch.setenv("WANDB_MODE", "disabled")
    with pytest.raises(SettingsError, match="disabled"):
        api.publish_report()
