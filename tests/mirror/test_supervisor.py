"""The observer that runs a mirror beside a run, and what it says when the mirror is in trouble."""

from __future__ import annotations

import signal
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import psutil
import pytest

from fer_tune.job import EpochRow, Job
from fer_tune.jobs import Observer, StudyOutcome
from fer_tune.jobs.outcome import Plan
from fer_tune.mirror import process, supervisor
from fer_tune.mirror.supervisor import GRACE_INTERRUPTED, MirrorSupervisor, supervisors
from fer_tune.mirror.tracker import Mode
from fer_tune.settings import Settings
from fer_tune.sources.run import run_sweeps
from fer_tune.study import Counts
from tests.jobs.helpers import LOCAL, Notebook
from tests.pool.trainers import obedient
from tests.searches import make_sweep


class Handle:
    """A mirror's process on paper."""

    log = Path("mirror.log")
    pid = 1
    place = "a folder"

    def __init__(self, running: bool = True, complete: bool = True) -> None:
        self.running, self.complete = running, complete
        self.graces: list[float] = []

    def stop(self, timeout: float) -> bool:
        self.graces.append(timeout)
        return self.complete


def outcome(study: str, reason: str = "budget") -> StudyOutcome:
    return StudyOutcome(study, Counts(), None, None, reason)  # type: ignore[arg-type]


def open_study(mirror: MirrorSupervisor, study: str = "s") -> None:
    mirror.study_opened(Plan(study, "search", "simple_cnn", "demo", "val_accuracy", 4, 3), Counts(), [])


@dataclass
class Mirrors:
    """Stands for the processes: each start takes the next handle."""

    handles: list[Handle] = field(default_factory=list)
    asked: list[tuple[str, Mode | None]] = field(default_factory=list)

    def start(self, settings: Settings, study: str, mode: Mode | None, tracker: str) -> Handle:
        self.asked.append((study, mode))
        return self.handles[len(self.asked) - 1]


@pytest.fixture
def mirrors(monkeypatch: pytest.MonkeyPatch) -> Mirrors:
    mirrors = Mirrors()
    monkeypatch.setattr(process, "start", mirrors.start)
    return mirrors


@pytest.mark.parametrize("complete", [True, False])
def test_a_mirror_runs_beside_each_study(complete: bool, settings: Settings, mirrors: Mirrors) -> None:
    mirrors.handles = [Handle(complete=complete), Handle(complete=complete)]
    notes: list[str] = []
    with MirrorSupervisor(settings, "offline", notes.append) as mirror:
        for study in ("a", "b"):
            open_study(mirror, study)
            mirror.tick()
            mirror.study_closed(outcome(study))
    assert mirrors.asked == [("a", "offline"), ("b", "offline")]
    assert [len(handle.graces) for handle in mirrors.handles] == [1, 1]
    assert ["wandb does not have everything yet" in note for note in notes] == ([] if complete else [True, True])


def test_an_interrupted_run_waits_less(settings: Settings, mirrors: Mirrors) -> None:
    [handle] = mirrors.handles = [Handle()]
    mirror = MirrorSupervisor(settings, None, print)
    open_study(mirror)
    mirror.study_closed(outcome("s", "interrupted"))
    assert handle.graces == [GRACE_INTERRUPTED]


def test_a_run_that_ends_with_an_error_leaves_no_mirror(settings: Settings, mirrors: Mirrors) -> None:
    [handle] = mirrors.handles = [Handle()]
    with suppress(RuntimeError), MirrorSupervisor(settings, None, print) as mirror:
        open_study(mirror)
        raise RuntimeError
    assert handle.graces == [GRACE_INTERRUPTED]


@pytest.mark.parametrize(("tracker", "command"), [("wandb", "--study s`"), ("csv", "--study s --tracker csv`")])
def test_it_names_the_command_that_copies_the_rest(
    settings: Settings, mirrors: Mirrors, tracker: str, command: str
) -> None:
    mirrors.handles = [Handle(complete=False)]
    notes: list[str] = []
    mirror = MirrorSupervisor(settings, None, notes.append, tracker)
    open_study(mirror)
    mirror.study_closed(outcome("s"))
    [note] = notes
    assert f"`fer-tune sync {command}" in note
    assert tracker in note


@pytest.mark.parametrize("absent", [True, False])
def test_a_mirror_that_cannot_start_is_a_note(
    absent: bool, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> Handle:
        raise OSError("no processes left")

    if absent:
        monkeypatch.setattr("fer_tune.mirror.process.find_spec", lambda name: None)
    else:
        monkeypatch.setattr(process, "start", refuse)
    notes: list[str] = []
    mirror = MirrorSupervisor(settings, None, notes.append)
    open_study(mirror)
    mirror.tick()
    mirror.study_closed(outcome("s"))
    [note] = notes
    assert ("wandb is not installed" if absent else "no processes left") in note


def test_a_mirror_that_keeps_dying_is_started_a_few_times(
    settings: Settings, mirrors: Mirrors, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "RESTARTS", (0.0, 0.0, 0.0))
    mirrors.handles = [Handle(running=False, complete=False) for _ in range(4)]
    notes: list[str] = []
    mirror = MirrorSupervisor(settings, "offline", notes.append)
    open_study(mirror)
    for _ in range(10):
        mirror.tick()
    mirror.study_closed(outcome("s"))
    assert len(mirrors.asked) == 4
    assert ["started again" in note for note in notes] == [True, True, True, False, False]
    assert all("fer-tune sync" in note for note in notes[3:])


def test_disabled_starts_nothing(settings: Settings) -> None:
    notes: list[str] = []
    with MirrorSupervisor(settings, "disabled", notes.append) as mirror:
        open_study(mirror)
        mirror.tick()
        mirror.study_closed(outcome("s"))
    assert notes == []
    assert not settings.logs.exists()


def test_a_mirror_that_dies_is_started_again_and_the_run_does_not_wait(
    searching: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The real one, killed in the middle.

    It has little time at the end: on busy cores it comes last.
    """
    monkeypatch.setattr(supervisor, "GRACE", 0.1)
    seen: list[int] = []

    def look(spec: Job, row: EpochRow) -> None:
        for child in psutil.Process().children():
            if child.status() != psutil.STATUS_ZOMBIE and {"fer_tune.mirror", "wandb"} <= {*child.cmdline()}:
                seen.append(child.pid)
                if row.epoch == 3:
                    child.send_signal(signal.SIGKILL)

    watch = Notebook(on_epoch=look)
    sweep = make_sweep(budget=1, epochs=20, seconds=0.05)
    outcome = run_sweeps([sweep], searching, replace(LOCAL, wandb="offline"), watch, obedient)
    assert outcome.completed == 1
    assert [note for note in watch.notes if "died. It is started again" in note]
    assert len(set(seen)) == 2


def test_it_says_where_the_copy_will_be_once_a_study(settings: Settings, mirrors: Mirrors) -> None:
    mirrors.handles = [Handle(running=False), Handle(), Handle()]
    heard: list[tuple[str, str]] = []
    mirror = MirrorSupervisor(settings, None, print, "wandb", lambda *place: heard.append(place))
    open_study(mirror)
    mirror.tick()  # it died, and is started again
    assert heard == [("wandb", "a folder")]
    open_study(mirror, "other")
    assert heard == [("wandb", "a folder")] * 2


def test_a_name_in_the_variable_that_is_no_tracker_is_a_note(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FER_TUNE_TRACKERS", "tensorbord, mlflow")
    notes: list[str] = []

    class Notes(Observer):
        def note(self, text: str) -> None:
            notes.append(text)

    assert supervisors(settings, None, Notes())
    assert notes == ["FER_TUNE_TRACKERS names tensorbord; the trackers that are known are wandb, mlflow, tensorboard."]
