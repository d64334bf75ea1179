"""What can happen to a run. Each fault is a function that does it and waits for the reaction."""

from __future__ import annotations

import errno
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import psutil

from .subject import EPOCHS, Role, StuckError, Subject, wait_until

ORPHANS_WITHIN = 5.0
"""Seconds within which workers must end after their orchestrator."""

SIGTERM_WITHIN = 20.0
"""Seconds within which a run must end after SIGTERM: epoch, checkpoints, the mirror's grace."""

INTERRUPTED = 130
"""The exit code of an interrupted run."""

NODE_WITHIN = 60.0
"""Seconds within which a worker must be on a new node, after another node was lost."""

VOLUME = 64
"""MiB of the disk that is filled."""


@dataclass(frozen=True)
class Effect:
    """What a fault did.

    Attributes:
        what: for people.
        seconds: until the run reacted, where that can be seen.
        wrong: what the run should have done and did not; empty if all is well.
        torn: uids of the jobs whose checkpoints were damaged.
    """

    what: str
    seconds: float | None = None
    wrong: str = ""
    torn: frozenset[str] = field(default_factory=frozenset)


class MissedError(Exception):
    """There is nothing now that the fault could hit. The campaign tries again a little later."""


@dataclass(frozen=True)
class Fault:
    """A kind of fault.

    Attributes:
        inject: does it to a running subject.
        reaction: what the effect's seconds measure.
        epochs: how many more epochs the run records before the fault, at least and at most.
        early: whether the fault may also happen before that, while the run starts.
    """

    inject: Callable[[Subject, Random], Effect]
    reaction: str
    epochs: tuple[int, int] = (1, 6)
    early: bool = False


def kill_worker(subject: Subject, random: Random) -> Effect:
    """SIGKILL to a worker, wherever it is: importing, training, writing a checkpoint."""
    trains = subject.trains()
    victim = _victim(subject, "worker", random)
    others = {process.pid for process in subject.processes("worker")}
    victim.kill()
    # The process table has its entry until the orchestrator asks for its exit code.
    noticed = wait_until(lambda: not victim.is_running() or not subject.running(), 10.0)
    # On Ray, a node that has just joined may be starting, which takes both cores some seconds.
    patience = 10.0 if subject.nodes is None else 30.0
    replaced = wait_until(lambda: _fresh(subject, others) or not subject.running(), patience)
    # A run that is still starting checks its workers later, and one that has just ended does not.
    if not trains or not subject.running():
        return Effect(f"worker {victim.pid}")
    wrong = (
        ""
        if noticed is not None and replaced is not None
        else f"a dead worker was not replaced within {patience:.0f} s"
    )
    return Effect(f"worker {victim.pid}", noticed, wrong)


def _fresh(subject: Subject, known: set[int]) -> bool:
    return any(process.pid not in known for process in subject.processes("worker"))


def kill_orchestrator(subject: Subject, random: Random) -> Effect:
    """SIGKILL to the orchestrator. Its workers must end by themselves."""
    victim = _victim(subject, "orchestrator", random)
    victim.kill()
    wait_until(lambda: not subject.running(), 5.0)
    gone = wait_until(lambda: not subject.processes("worker"), ORPHANS_WITHIN)
    wrong = "" if gone is not None else f"a worker outlived the orchestrator by {ORPHANS_WITHIN:g} s"
    return Effect(f"orchestrator {victim.pid}", gone, wrong)


def kill_mirror(subject: Subject, random: Random) -> Effect:
    """SIGKILL to one of the mirror's processes, half of the time with those below it.

    Where no mirror runs, the campaign starts a sync and kills its mirror.
    """
    if not subject.processes("mirror"):
        return _kill_sync(subject, random)
    victim = _victim(subject, "mirror", random)
    children = victim.children(recursive=True) if random.random() < 0.5 else []
    victim.kill()
    for child in children:
        with suppress(psutil.Error):
            child.kill()
    gone = wait_until(lambda: not victim.is_running() or victim.status() == psutil.STATUS_ZOMBIE, 5.0)
    with_it = " and the processes below it" if children else ""
    return Effect(f"mirror {victim.pid}{with_it}, {subject.mirrored_runs()} runs written", gone)


def _kill_sync(subject: Subject, random: Random) -> Effect:
    if subject.epochs() == 0:
        raise MissedError("there is nothing to copy")
    process = subject.begin_sync()
    if wait_until(lambda: subject.processes("mirror") or process.poll() is not None, 30.0) is None:
        process.kill()
    time.sleep(random.uniform(0.0, 2.0))
    try:
        victim = _victim(subject, "mirror", random)
        victim.kill()
    finally:
        process.wait(timeout=60)
    return Effect(f"mirror {victim.pid} of a sync, {subject.mirrored_runs()} runs written")


def hang_worker(subject: Subject, random: Random) -> Effect:
    """SIGSTOP to a worker that trains. The run must end it and try its job again."""
    victim = _victim(subject, "worker", random)
    victim.suspend()
    patience = subject.hang + 60.0
    noticed = wait_until(lambda: not psutil.pid_exists(victim.pid) or not subject.running(), patience)
    if noticed is None:
        victim.kill()
        return Effect(f"worker {victim.pid}", None, f"a worker that hung was not ended within {patience:.0f} s")
    return Effect(f"worker {victim.pid}", noticed)


def lose_node(subject: Subject, random: Random) -> Effect:
    """A node of the Ray cluster dies with its worker, and another joins."""
    victims = subject.processes("worker")
    if subject.nodes is None or not subject.trains() or len(victims) < subject.workers:
        raise MissedError("the workers do not train yet")
    known = {process.pid for process in victims}
    name = subject.nodes.lose(random)
    subject.nodes.add()
    joined = wait_until(lambda: _fresh(subject, known) or not subject.running(), NODE_WITHIN)
    wrong = "" if joined is not None else f"no worker joined on a new node within {NODE_WITHIN:g} s"
    return Effect(f"node {name}", joined if subject.running() else None, wrong)


def terminate(subject: Subject, random: Random) -> Effect:
    """SIGTERM to the orchestrator, as when a cluster preempts it: epoch, checkpoint, end."""
    victim = _victim(subject, "orchestrator", random)
    victim.terminate()
    ended = wait_until(lambda: not subject.running(), SIGTERM_WITHIN)
    if ended is None:
        return Effect(f"orchestrator {victim.pid}", None, f"SIGTERM did not end the run within {SIGTERM_WITHIN:g} s")
    code = subject.ends[-1]
    # Before the run handles signals, SIGTERM ends it as it ends any program. It may also just have
    # finished.
    wrong = "" if code in (INTERRUPTED, -signal.SIGTERM, 0) else f"after SIGTERM the run ended with {code}"
    return Effect(f"orchestrator {victim.pid}, ended with {code}", ended, wrong)


def tear_checkpoint(subject: Subject, random: Random) -> Effect:
    """The orchestrator is killed and its checkpoints are damaged, as when a machine loses power."""
    if not _checkpoints(subject):
        raise MissedError("no checkpoint")
    killed = kill_orchestrator(subject, random)
    if not (files := _checkpoints(subject)):
        raise MissedError("the checkpoint was removed")
    ways = {path: random.choice(sorted(TEARS)) for path in files}
    damaged = {path: TEARS[way](path.read_bytes()) for path, way in ways.items()}
    for path, content in damaged.items():
        path.write_bytes(content)
    subject.start()
    aside = wait_until(lambda: any(_was_set_aside(*entry) for entry in damaged.items()), 60.0)
    wrong = killed.wrong or ("" if aside is not None else "a torn checkpoint was not set aside within 60 s")
    torn = frozenset(path.name.partition(".")[0] for path in files)
    return Effect(", ".join(f"{path.name} {way}" for path, way in ways.items()), aside, wrong, torn)


def _was_set_aside(path: Path, content: bytes) -> bool:
    aside = path.with_name(f"{path.name}.torn")
    return aside.exists() and aside.read_bytes() == content


TEARS: dict[str, Callable[[bytes], bytes]] = {
    "cut in half": lambda content: content[: len(content) // 2],
    "emptied": lambda content: b"",
    "with a flipped bit": lambda content: content[:-100] + bytes([content[-100] ^ 1]) + content[-99:],
    "full of zeros": lambda content: bytes(len(content)),
    "replaced by a pickle": lambda content: b"\x80\x04\x8c\x05posix\x94\x8c\x06system\x94\x93\x94.",
}
"""Ways to damage a checkpoint, by name: each takes its bytes and returns the damaged ones."""


def _checkpoints(subject: Subject) -> list[Path]:
    return sorted(subject.storage.glob("checkpoints/*/[0-9a-f]*.safetensors"))


def lock_database(subject: Subject, random: Random) -> Effect:
    """Another process holds the write lock for longer than SQLite waits."""
    seconds = random.uniform(6.0, 9.0)
    with closing(sqlite3.connect(subject.database, timeout=5.0, isolation_level=None)) as connection:
        try:
            connection.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError as error:
            raise MissedError("the run itself holds the lock") from error
        time.sleep(seconds)
        connection.execute("ROLLBACK")
    return _continues(subject, f"locked for {seconds:.1f} s")


def fill_disk(subject: Subject, random: Random) -> Effect:
    """The disk of the storage folder is full to the last byte for some seconds."""
    ballast = subject.storage / "ballast"
    seconds = random.uniform(4.0, 8.0)
    until = time.monotonic() + seconds
    try:
        while time.monotonic() < until:
            _fill(ballast)  # repeatedly, because the run deletes files meanwhile
            time.sleep(0.02)
    finally:
        ballast.unlink()
    return _continues(subject, f"full for {seconds:.1f} s")


def _fill(path: Path) -> None:
    for size in (1 << 20, 1 << 12, 1):
        with path.open("ab", buffering=0) as stream:
            try:
                while stream.write(bytes(size)):
                    pass
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise


def _continues(subject: Subject, what: str) -> Effect:
    """Waits until the run records epochs again. It must not have ended, unless it is done."""
    if subject.done:
        return Effect(what, None)
    if not subject.running():
        return Effect(what, None, f"{what}: the run ended with {subject.ends[-1]}")
    before = subject.epochs()
    seconds = wait_until(lambda: subject.epochs() > before or not subject.running(), 60.0)
    return Effect(what, seconds, "" if seconds is not None else f"{what}: the run did not continue within 60 s")


def _victim(subject: Subject, role: Role, random: Random) -> psutil.Process:
    found = subject.processes(role)
    if not found:
        raise MissedError(f"no {role}")
    return random.choice(sorted(found, key=lambda process: process.pid))


FAULTS: dict[str, Fault] = {
    "SIGKILL worker": Fault(kill_worker, "until it was noticed", early=True),
    "SIGKILL orchestrator": Fault(kill_orchestrator, "until no worker was left", early=True),
    "SIGKILL mirror": Fault(kill_mirror, "until it was gone", (0, 20), early=True),
    "node lost": Fault(lose_node, "until a worker was on a new node", (4, 12)),
    "SIGTERM": Fault(terminate, "until the run had ended", (1, 12), early=True),
    "hung worker": Fault(hang_worker, "until it was ended", (2 * EPOCHS, 3 * EPOCHS)),
    "torn checkpoint": Fault(tear_checkpoint, "until it was set aside", (4, 12)),
    "locked database": Fault(lock_database, "until the next epoch was recorded"),
    "disk full": Fault(fill_disk, "until the next epoch was recorded"),
}
"""The faults by name."""


@contextmanager
def small_disk(folder: Path) -> Iterator[None]:
    """Mounts a small disk at `folder`.

    Raises:
        StuckError: this user may not mount one.
    """
    folder.mkdir(parents=True, exist_ok=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={VOLUME}m", "fer-tune-chaos", str(folder)]
    done = subprocess.run(mount, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise StuckError(f"a small disk cannot be mounted: {done.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=False, stdout=sys.stderr)
