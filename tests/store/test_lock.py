import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from fer_tune.errors import StorageError, StudyError
from fer_tune.settings import Settings
from fer_tune.store import StudyLock

HOLD = """
import sys, time
from pathlib import Path
from fer_tune.settings import Settings
from fer_tune.store import StudyLock
lock = StudyLock(Settings(Path(sys.argv[1]), sys.argv[2]), sys.argv[2], sys.argv[3]).acquire()
print("held", flush=True)
time.sleep(20)
"""


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(tmp_path, f"sqlite:///{tmp_path}/fer_tune.db")


def lock(settings: Settings, study: str = "resnet") -> StudyLock:
    return StudyLock(settings, settings.url, study)


def holder(settings: Settings, study: str = "resnet") -> subprocess.Popen[str]:
    command = [sys.executable, "-c", HOLD, str(settings.root), settings.url, study]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    assert child.stdout.readline() == "held\n"
    return child


def test_the_refusal_names_the_holder_and_its_death_releases(settings: Settings) -> None:
    with holder(settings) as child:
        with pytest.raises(StudyError, match=f"process {child.pid} "):
            lock(settings).acquire()
        with lock(settings, "vgg"):
            pass
        child.send_signal(signal.SIGKILL)
        child.wait()
    with lock(settings) as held:
        assert str(os.getpid()) in held.path.read_text()


def test_a_released_lock_can_be_taken_again_and_names_nobody(settings: Settings) -> None:
    first = lock(settings).acquire()
    with pytest.raises(StudyError, match=str(os.getpid())):
        lock(settings).acquire()
    first.release()
    first.release()
    assert first.path.read_text() == ""
    lock(settings).acquire().release()


def test_the_same_study_in_another_database_is_another_lock(settings: Settings) -> None:
    with lock(settings) as one, StudyLock(settings, f"sqlite:///{settings.root}/other.db", "resnet") as other:
        assert one.path != other.path


@pytest.mark.parametrize("study", ["../../etc/passwd", "a/b", "", "x" * 500, "ünï cødé"])
def test_no_study_name_leaves_the_folder(settings: Settings, study: str) -> None:
    with lock(settings, study) as held:
        assert held.path.resolve().parent == settings.locks.resolve()


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    settings = Settings(tmp_path / "file", f"sqlite:///{tmp_path}/a.db")
    with pytest.raises(StorageError, match="lock file"):
        lock(settings).acquire()
