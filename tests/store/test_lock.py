import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import threading
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


def test_the_lock_names_host_process_and_start(settings: Settings) -> None:
    assert lock(settings).holder() is None
    with holder(settings) as child:
        found = lock(settings).holder()
        assert found is not None
        assert (found.pid, found.host) == (child.pid, socket.gethostname())
        assert found.is_here()
        assert found.is_running()
        child.kill()
    assert lock(settings).holder() is None


def test_a_process_of_another_host_or_another_start_is_not_taken_for_the_holder(settings: Settings) -> None:
    with lock(settings) as held:
        written = json.loads(held.path.read_text())
        held.path.write_text(json.dumps(written | {"host": "elsewhere"}))
        found = lock(settings).holder()
        assert found is not None
        assert not found.is_here()
        assert not found.is_running()
        assert str(found) == f"process {os.getpid()} on elsewhere"
        held.path.write_text(json.dumps(written | {"process_started": written["process_started"] - 3600}))
        found = lock(settings).holder()
        assert found is not None
        assert found.is_here()
        assert not found.is_running()


@pytest.mark.parametrize("text", ["", "{", "[]", '{"pid": "x"}', '{"pid": 1}', "null", '{"pid": 1, "host": 2}'])
def test_a_lock_file_that_says_nothing_names_nobody(settings: Settings, text: str) -> None:
    with lock(settings) as held:
        held.path.write_text(text)
        assert lock(settings).holder() is None
        with pytest.raises(StudyError, match="another process"):
            lock(settings).acquire()


def test_a_database_has_one_lock_however_its_path_is_written(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    real, link = (Settings(tmp_path / name, f"sqlite:///{tmp_path / name}/fer_tune.db") for name in ("real", "link"))
    with lock(real), pytest.raises(StudyError):
        lock(link).acquire()


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


def test_a_reader_s_glance_does_not_refuse_a_run(settings: Settings) -> None:
    """A reader takes the lock for a moment. A run that starts then waits for it."""
    with lock(settings):
        pass  # creates the file
    path = lock(settings).path
    with path.open("r+") as glance:
        fcntl.flock(glance, fcntl.LOCK_SH)
        threading.Timer(0.1, fcntl.flock, (glance, fcntl.LOCK_UN)).start()
        with lock(settings) as held:
            assert held.holder() is not None
