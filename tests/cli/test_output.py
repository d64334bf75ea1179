"""What a run writes where nobody looks at a terminal: lines, JSON, or nothing."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from fer_tune.cli.retrain import show_ledger
from fer_tune.data.spec import DataRef
from fer_tune.display import terminal
from fer_tune.display.json_lines import JsonLines
from fer_tune.display.lines import Lines
from fer_tune.errors import StudyError
from fer_tune.job import Job, StepProgress
from fer_tune.pool import WorkerInfo
from fer_tune.settings import Settings
from fer_tune.store import Store
from fer_tune.store.openings import Opening
from fer_tune.study import trials
from tests.cli.searched import searched

PAGE = Path(__file__).parents[2] / "docs" / "json-lines.md"
GROUPS = {"job": {"study", "job", "kind", "trial", "attempt"}, "worker": {"worker", "device", "pid", "lanes"}}
"""Fields that the page writes as one word, such as *job*."""


def documented() -> dict[str, set[str]]:
    """Returns the fields of each event, as the page's table says them."""
    rows = re.findall(r"^\| `(\w+)` \|[^|]*\| (.*) \|$", PAGE.read_text("utf-8"), re.MULTILINE)
    return {
        event: set(re.findall(r"`(\w+)`", fields)).union(*(GROUPS[name] for name in re.findall(r"\*(\w+)\*", fields)))
        for event, fields in rows
    }


def a_job() -> Job:
    here = Path()
    data = DataRef(here, "d", here, "s")
    return Job("0" * 12, "obedient", "search", "simple_cnn", {}, 4, 0, data, number=7)


def test_a_long_ledger_says_how_many_openings_it_leaves_out(capsys: pytest.CaptureFixture[str]) -> None:
    when = datetime(2026, 11, 26, 12, 0, tzinfo=UTC)
    ledger = [Opening(f"{place}", "split", "final fit", f"model-{place}", "s", when) for place in range(6)]
    show_ledger(terminal.console(), ledger)
    shown = capsys.readouterr().out
    assert "opened: 6 times, this one included" in shown
    assert "before: 2 more, the oldest ones" in shown
    assert [f"model-{place}" in shown for place in range(6)] == [False, False, True, True, True, False]
    show_ledger(terminal.console(), ledger[:2])
    assert "more" not in capsys.readouterr().out


def test_every_event_is_one_object_as_documented(searching: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    watch = JsonLines(terminal.Output())
    searched(watch, searching)
    watch.note("a note")
    watch.mirror_opened("wandb", "offline files in storage/wandb")
    watch.lanes_changed(WorkerInfo(0, "cpu", 7, lanes=2))
    watch.worker_lost(WorkerInfo(0, "cpu", 7), "killed", "its last\nwords")
    watch.job_progress(a_job(), StepProgress("7", 0, 2, 40, 157))
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {event["event"] for event in events} == set(documented())
    for event in events:
        assert datetime.fromisoformat(event.pop("time")).tzinfo is not None
        name = event.pop("event")
        assert set(event) == documented()[name], name
    by_name = {name: [event for event in events if set(event) == fields] for name, fields in documented().items()}
    ended = by_name["trial_ended"]
    assert [event["trial"] for event in ended] == [0, 1, 2, 3, 4]
    assert {event["state"] for event in ended} == {"complete", "pruned"}
    started = by_name["trial_started"]
    assert [event["job"] for event in started] == [event["job"] for event in ended]
    assert len({event["job"] for event in ended}) == 5
    assert {event["kind"] for event in ended} == {"search"}
    [closed] = by_name["study_closed"]
    assert closed["counts"]["complete"] + closed["counts"]["pruned"] == 5
    assert closed["value"] == max(event["value"] for event in ended if event["state"] == "complete")
    assert by_name["run_ended"] == [{"error": None}]


def test_an_error_is_the_last_event(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(StudyError), JsonLines(terminal.Output()):
        raise StudyError("It is in use.", "Wait.")
    assert json.loads(capsys.readouterr().out)["error"] == "It is in use."


def test_a_line_for_each_event_of_a_trial(searching: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    searched(Lines(terminal.Output()), searching)
    lines = capsys.readouterr().out.splitlines()
    assert all(re.match(r"\d\d:\d\d:\d\d ", line) for line in lines)
    assert sum("started on worker 0 (cpu)" in line for line in lines) == 5
    assert sum(bool(re.search(r"trial \d (complete|pruned) at \d+\.\d\d %", line)) for line in lines) == 5
    assert "\x1b" not in "".join(lines)


def test_lines_on_progress_within_an_epoch(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """At most one every 30 seconds, whatever the number of jobs."""
    clock = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: clock)
    lines, job = Lines(terminal.Output()), a_job()
    for step in range(1, 62):
        clock += 1.0
        lines.job_progress(job, StepProgress("7", 0, 1, step, 157))
    told = capsys.readouterr().out.splitlines()
    assert [line.split(" ", 1)[1] for line in told] == [
        "obedient: trial 7 epoch 1/4 step 30/157",
        "obedient: trial 7 epoch 1/4 step 60/157",
    ]


def test_another_attempt_is_a_trial_that_continues(capsys: pytest.CaptureFixture[str]) -> None:
    lines, worker = Lines(terminal.Output()), WorkerInfo(0, "cpu", None)
    for attempt in (0, 1):
        lines.job_started(replace(a_job(), attempt=attempt), worker)
    told = [line.split(" ", 1)[1] for line in capsys.readouterr().out.splitlines()]
    assert told == ["obedient: trial 7 started on worker 0 (cpu)", "obedient: trial 7 continues on worker 0 (cpu)"]


def test_a_reader_that_leaves_does_not_end_the_search(searching: Settings) -> None:
    code = (
        "from fer_tune.display import terminal\n"
        "from fer_tune.display.json_lines import JsonLines\n"
        "from fer_tune.settings import Settings\n"
        "from tests.cli.searched import searched\n"
        "searched(JsonLines(terminal.Output()), Settings.from_environment())\n"
        "print('on standard output too')\n"
    )
    shell = ["bash", "-o", "pipefail", "-c", '"$0" -c "$1" | head -n 1', sys.executable, code]
    environment = os.environ | {"FER_TUNE_DATA": str(searching.data_source), "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(shell, capture_output=True, text=True, check=False, env=environment)
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["event"]
    with Store.of(searching) as store:
        assert len(trials(store, "obedient", ("complete", "pruned"))) == 5


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here")
def test_lines_that_a_full_disk_refuses_do_not_end_the_search(searching: Settings) -> None:
    code = (
        "from fer_tune.display import terminal\n"
        "from fer_tune.display.lines import Lines\n"
        "from fer_tune.settings import Settings\n"
        "from tests.cli.searched import searched\n"
        "out = terminal.Output()\n"
        "searched(Lines(out), Settings.from_environment())\n"
        "with out.spared():\n"
        "    terminal.line(terminal.console(), 'and the conclusion')\n"
        "out.close()\n"
    )
    environment = os.environ | {"FER_TUNE_DATA": str(searching.data_source), "PYTHONPATH": os.pathsep.join(sys.path)}
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-c", code], stdout=full, stderr=subprocess.PIPE, text=True, check=False, env=environment
        )
    assert (done.returncode, done.stderr) == (0, "")
    with Store.of(searching) as store:
        assert len(trials(store, "obedient", ("complete", "pruned"))) == 5


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here")
def test_output_that_a_full_disk_refuses_is_an_error_and_no_traceback(tmp_path: Path) -> None:
    with Path("/dev/full").open("w") as full:
        words = [sys.executable, "-m", "fer_tune", "init", "resnet"]
        done = subprocess.run(words, stdout=full, stderr=subprocess.PIPE, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("error: The output cannot be written: No space left on device")
    assert "Traceback" not in done.stderr
