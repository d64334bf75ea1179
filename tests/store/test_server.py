"""Tests with a real PostgreSQL server, which is made for this file.

They are skipped if PostgreSQL or its driver is not installed.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from fer_tune.errors import StudyError
from fer_tune.mirror.process import MirrorLock
from fer_tune.settings import Settings
from fer_tune.store import ConfirmLock, Store, StudyLock, is_run

pytest.importorskip("psycopg")


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """Yields the URL of an empty database."""
    programs = [
        shutil.which(name) or next(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), None) for name in PROGRAMS
    ]
    if None in programs:
        pytest.skip("no PostgreSQL is installed")
    initdb, postgres = map(str, programs)
    user = "postgres" if os.getuid() == 0 else None  # PostgreSQL refuses to run as root
    folder = Path(tempfile.mkdtemp(prefix="pg"))  # short, because the path of a socket has 107 bytes at most
    if user:
        shutil.chown(folder, user)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "user": user, "cwd": folder}
    subprocess.run([initdb, "-D", folder / "data", "-A", "trust", "-U", "me", "--no-sync"], check=True, **quiet)
    options = ["-D", folder / "data", "-h", "127.0.0.1", "-p", str(port), "-k", folder, "-c", "fsync=off"]
    process = subprocess.Popen([postgres, *options], **quiet)
    url = f"postgresql://me@127.0.0.1:{port}/postgres"
    try:
        _await(url)
        yield url
    finally:
        process.terminate()
        process.wait(20)
        shutil.rmtree(folder)


PROGRAMS = ("initdb", "postgres")


def _await(url: str) -> None:
    import time

    import psycopg

    deadline = time.monotonic() + 20
    while True:
        try:
            psycopg.connect(url).close()
            return
        except psycopg.OperationalError:
            assert time.monotonic() < deadline, "the server does not answer"
            time.sleep(0.1)


def lock(server: str, folder: Path, study: str = "resnet") -> StudyLock:
    return StudyLock(Settings(folder, server), server, study)


def test_two_hosts_cannot_run_one_study(server: str, tmp_path: Path) -> None:
    """Two storage folders play two hosts."""
    assert lock(server, tmp_path / "there").server_holder() is None
    with lock(server, tmp_path / "here"):
        held_by = lock(server, tmp_path / "there").server_holder()
        assert held_by == f"fer-tune {os.getpid()} on {socket.gethostname()}"
        with pytest.raises(StudyError, match=rf"run by fer-tune {os.getpid()} on {socket.gethostname()}") as caught:
            lock(server, tmp_path / "there").acquire()
        assert caught.value.hint == "Wait for it, or stop it there."
        with lock(server, tmp_path / "there", "vgg"), MirrorLock(Settings(tmp_path / "there", server), "resnet"):
            pass  # the locks of another study, and of the mirror, are free
    here, there = (ConfirmLock(Settings(tmp_path / one, server), server, "resnet") for one in ("here", "there"))
    with here, pytest.raises(StudyError, match=r"Trials of the study resnet are being confirmed by fer-tune \d+ on"):
        there.acquire()
    with lock(server, tmp_path / "there"), pytest.raises(StudyError):
        lock(server, tmp_path / "here").acquire()
    with lock(server, tmp_path / "here"):
        pass


def test_a_run_on_another_host_is_alive(server: str, tmp_path: Path) -> None:
    with Store.open(server, root=tmp_path / "here") as store:
        assert not is_run(store, "resnet")
        with lock(server, tmp_path / "there"):
            assert is_run(store, "resnet")
            assert not is_run(store, "vgg")
        assert not is_run(store, "resnet")
