import errno
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
        with pytest.raises(StudyError, match=f"process {child.pid} ") as caught:
            lock(settings).acquire()
        assert caught.value.hint == "Wait for it, or stop it with `fer-tune stop --study resnet`."
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
    settings = Settings(tmp_path, f"sqlite:///{tmp_path}/file/a.db")
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


def test_two_storage_folders_share_the_lock_of_one_database(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/shared.db"
    here, there = (Settings(tmp_path / name, url) for name in ("a", "b"))
    with lock(here), pytest.raises(StudyError, match=f"process {os.getpid()} "):
        lock(there).acquire()


def test_a_folder_that_is_mounted_elsewhere_has_the_same_lock(settings: Settings, tmp_path: Path) -> None:
    """A container sees the folder under another path. Renaming it shows the same."""
    (tmp_path / "host").mkdir()
    host = Settings(tmp_path / "host", f"sqlite:///{tmp_path}/host/fer_tune.db")
    with lock(host) as held:
        (tmp_path / "host").rename(tmp_path / "container")
        inside = Settings(tmp_path / "container", f"sqlite:///{tmp_path}/container/fer_tune.db")
        assert lock(inside).path.name == held.path.name
        with pytest.raises(StudyError):
            lock(inside).acquire()


@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")  # Python 3.12, after other tests
def test_a_forked_child_that_outlives_the_holder_holds_nothing(settings: Settings) -> None:
    held = lock(settings).acquire()
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.read(reading, 1)  # until the parent has looked
        os._exit(0)
    held.release()
    try:
        with lock(settings):
            pass
    finally:
        os.write(writing, b"x")
        os.waitpid(child, 0)
        os.close(reading)
        os.close(writing)


def test_a_file_system_without_locks_is_said(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(StorageError, match="cannot be locked: No locks available"):
        lock(settings).acquire()


def test_a_pipe_in_the_place_of_a_lock_file_is_said(settings: Settings) -> None:
    path = lock(settings).path
    path.parent.mkdir(parents=True)
    os.mkfifo(path)
    assert lock(settings).holder() is None
    with pytest.raises(StorageError, match="lock file"):
        lock(settings).acquire()
