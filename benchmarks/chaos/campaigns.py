"""Campaigns: draws faults and moments from a seed, carries them out on a run, and checks it."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import psutil

from benchmarks.ray_nodes import NoRayError, ray_nodes

from . import evidence
from .checks import Case, problems, repeated
from .evidence import Config, Evidence, config_of
from .faults import FAULTS, Effect, MissedError, small_disk
from .subject import EPOCHS, SUBJECT, StuckError, Subject, wait_until

EARLY = 0.3
"""Share of the faults that happen early: while the run starts, within seconds of the last fault."""

EARLY_SECONDS = 4.0
WITHIN_EPOCH = 0.15
"""Seconds that a fault waits after a recorded epoch, at most.

So it meets every part of an epoch.
"""

MORE = 2
"""Trials that are added to the budget if the study is done before all faults have happened."""

PATIENCE = 240.0
"""Seconds that a run may take until the next fault."""

MIRRORS_WITHIN = 20.0
"""Seconds that the mirrors of killed orchestrators may take to copy what is left.

They let every other process run first, so on busy cores they need longer. Then they are killed too,
and `fer-tune sync` copies the rest.
"""

SEEDS = 2
"""Final fits that one `fer-tune retrain` trains, side by side."""

SYNCED_WITHIN = 120.0
"""Seconds within which `fer-tune sync` must copy everything, if it is given again and again."""

Say = Callable[[str], object]


@dataclass(frozen=True)
class Campaign:
    """A mix of faults for one study and its final fits.

    Attributes:
        faults: how many of each kind happen to the search.
        final: how many of each kind happen to the final fits; without any, nothing is retrained.
        workers: worker processes.
        lanes: trials that each of them trains at the same time.
        trials: the budget at the start.
        hang: seconds without an epoch that end a worker.
        small: whether the storage folder is on a small disk.
        ray: whether the workers are on a Ray cluster, each on a node of its own that does not
            share the storage folder.
    """

    name: str
    faults: Mapping[str, int]
    final: Mapping[str, int] = field(default_factory=dict)
    workers: int = 2
    lanes: int = 1
    trials: int = 8
    mirrored: bool = False
    hang: float = 60.0
    small: bool = False
    ray: bool = False

    def plan(self, seed: int) -> list[str]:
        """Returns the faults of the search in the order in which they happen."""
        return _shuffled(self.faults, f"{self.name}/{seed}")

    def final_plan(self, seed: int) -> list[str]:
        """Returns the faults of the final fits in the order in which they happen."""
        return _shuffled(self.final, f"{self.name}/{seed}/final")


def _shuffled(faults: Mapping[str, int], seed: str) -> list[str]:
    plan = [name for name, count in faults.items() for _ in range(count)]
    Random(seed).shuffle(plan)
    return plan


SHORT = Campaign(
    "short",
    {"SIGKILL worker": 1, "SIGKILL orchestrator": 1, "SIGKILL mirror": 1},
    {"SIGKILL worker": 1, "SIGKILL orchestrator": 1},
    workers=1,
    lanes=2,
    trials=3,
    mirrored=True,
)
"""Five kills: each kind of process at least once, in the search and in the final fits.

One worker trains two jobs at a time. A second one would import torch six times more.
"""

LONG = (
    Campaign("workers", {"SIGKILL worker": 52}, trials=16),
    Campaign(
        "lanes",
        {"SIGKILL worker": 16, "SIGKILL orchestrator": 4, "SIGTERM": 2, "torn checkpoint": 2},
        workers=1,
        lanes=4,
        trials=16,
    ),
    Campaign("orchestrator", {"SIGKILL orchestrator": 16}, trials=8),
    Campaign("mirror", {"SIGKILL mirror": 12, "SIGKILL orchestrator": 3}, trials=10, mirrored=True),
    Campaign(
        "final fits",
        {},
        {"SIGKILL worker": 8, "SIGKILL orchestrator": 8, "SIGKILL mirror": 3, "SIGTERM": 2, "torn checkpoint": 2},
        trials=4,
        mirrored=True,
    ),
    Campaign(
        "ray", {"node lost": 2, "SIGKILL worker": 6, "SIGKILL orchestrator": 3, "SIGTERM": 1}, trials=12, ray=True
    ),
    Campaign("preemption", {"SIGTERM": 5}, trials=6),
    Campaign("torn checkpoints", {"torn checkpoint": 3}, trials=6),
    Campaign("hung workers", {"hung worker": 2}, trials=10, hang=10.0),
    Campaign("locked database", {"locked database": 2}, trials=10),
    Campaign("full disk", {"disk full": 2}, trials=10, small=True),
    Campaign(
        "everything",
        {
            "SIGKILL worker": 10,
            "SIGKILL orchestrator": 5,
            "SIGKILL mirror": 3,
            "SIGTERM": 2,
            "torn checkpoint": 2,
            "locked database": 1,
            "disk full": 1,
        },
        {"SIGKILL worker": 3, "SIGKILL orchestrator": 3, "locked database": 1, "disk full": 1},
        trials=12,
        mirrored=True,
        small=True,
    ),
)


@dataclass
class Happened:
    """One fault of a campaign: what, when (seconds from its start), how it went."""

    fault: str
    at: float
    effect: Effect


@dataclass
class Result:
    """The result of a campaign.

    Attributes:
        budget: trials at the end.
        fits: final fits at the end.
        runs: how often a command was given.
        problems: by check, what is wrong.
        repeated: seconds of epochs that one attempt trained again, at most.
        case: what the checks looked at; None if the campaign was stuck before.
        skipped: why the campaign was not carried out; empty if it was.
    """

    campaign: Campaign
    seed: int
    happened: list[Happened] = field(default_factory=list)
    budget: int = 0
    fits: int = 0
    runs: int = 0
    requeued: int = 0
    attempts: int = 0
    seconds: float = 0.0
    repeated: float = 0.0
    problems: dict[str, list[str]] = field(default_factory=dict)
    skipped: str = ""
    case: Case | None = None

    @property
    def passed(self) -> bool:
        """Whether all checks held. A campaign that was not carried out has none."""
        return not any(self.problems.values())


class Undisturbed:
    """The run without faults, which says what the results must be.

    It is carried out once. It is made longer when a campaign needs more trials or other final fits.
    """

    def __init__(self, folder: Path) -> None:
        self.subject = Subject(folder, workers=0, trials=0)
        self._evidence: Evidence | None = None

    def close(self) -> None:
        """Ends its processes."""
        self.subject.end_all()

    def begin(self, trials: int) -> None:
        """Starts the first search. A campaign needs its result at the end only."""
        if not self.subject.trials:
            self.subject.trials = trials
            self.subject.start()

    def begin_fits(self) -> None:
        """Starts the final fits of the best trial, which a campaign needs at the end only."""
        found = self.evidence(self.subject.trials)
        self._begin_fits(config_of(found.ranked[0]))

    def evidence(self, trials: int, fitted: Config | None = None) -> Evidence:
        """Returns what the run left, with at least this many trials.

        Args:
            fitted: a configuration whose final fits are needed.
        """
        self.begin(trials)
        found = self._read()
        if trials > self.subject.trials:
            self.subject.trials, self.subject.seeds = trials, 0
            self.subject.start()
            self._evidence = None
            found = self._read()
        if fitted is not None and self._begin_fits(fitted):
            found = self._read()
        return found

    def _begin_fits(self, config: Config) -> bool:
        """Starts final fits of a configuration. Returns False if there are some."""
        found = self._read()
        if config in {fit.config for fit in found.fits}:
            return False
        trial = next(trial.number for trial in found.finished if config_of(trial) == config)
        self.subject.begin_final_fits(SEEDS, trial)
        self._evidence = None
        return True

    def _read(self) -> Evidence:
        """Returns what the last command left. Waits for its end if that was not read yet."""
        if self._evidence is None:
            self.subject.finish()
            self._evidence = evidence.read(self.subject)
        return self._evidence


def carry_out(campaign: Campaign, seed: int, folder: Path, calm: Undisturbed, say: Say = lambda text: None) -> Result:
    """Carries out a campaign in a folder of its own, and checks what it left.

    Raises:
        StuckError: the run did not advance; its output is in the folder.
    """
    result = Result(campaign, seed)
    with ExitStack() as stack:
        if campaign.small:
            try:
                stack.enter_context(small_disk(folder))
            except StuckError as error:
                result.skipped = str(error)
                return result
            stack.callback(_save, folder, result)
        subject = Subject(
            folder, campaign.workers, campaign.trials, campaign.mirrored, campaign.hang, lanes=campaign.lanes
        )
        stack.callback(subject.end_all)
        calm.begin(campaign.trials)
        try:
            with _nodes(campaign, subject):
                _disturb(subject, campaign, result, calm, say)
        except NoRayError as error:
            result.skipped = str(error)
            return result
        _conclude(subject, result, calm)
    return result


@contextmanager
def _nodes(campaign: Campaign, subject: Subject) -> Iterator[None]:
    """Gives the subject a Ray cluster with a node for each worker, if the campaign has one."""
    if not campaign.ray:
        yield
        return
    with ray_nodes(campaign.workers, 1, {SUBJECT: str(subject.storage)}) as subject.nodes:
        yield
    subject.nodes = None


def _save(small: Path, result: Result) -> None:
    """Copies a small disk, which will disappear, to a folder beside it if a check failed."""
    if result.case is None or not result.passed:
        shutil.copytree(small, small.with_name(f"{small.name}-disk"), dirs_exist_ok=True)


def _disturb(subject: Subject, campaign: Campaign, result: Result, calm: Undisturbed, say: Say) -> None:
    """Lets the planned faults happen to the search and to the final fits. Lets both finish."""
    random = Random(f"{campaign.name}/{result.seed}/moments")
    began = time.monotonic()

    def phase(plan: list[str]) -> None:
        for name in plan:
            effect = _inject(subject, name, random)
            at = time.monotonic() - began
            result.happened.append(Happened(name, round(at, 2), effect))
            say(f"{at:6.1f} s  {name}: {effect.what}{' — ' + effect.wrong if effect.wrong else ''}")
        subject.finish()
        result.runs += len(subject.ends)

    phase(campaign.plan(result.seed))
    if campaign.final:
        calm.begin_fits()
        subject.begin_final_fits(SEEDS)
        phase(campaign.final_plan(result.seed))
    result.seconds = round(time.monotonic() - began, 1)


def _inject(subject: Subject, name: str, random: Random) -> Effect:
    """Waits for the fault's moment and lets it happen. Tries again if there was nothing to hit."""
    fault = FAULTS[name]
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if fault.early and random.random() < EARLY:
            keep_running(subject)
            time.sleep(random.uniform(0.0, EARLY_SECONDS))
        else:
            await_epochs(subject, random.randint(*fault.epochs), deadline)
            time.sleep(random.uniform(0.0, WITHIN_EPOCH))
        try:
            return fault.inject(subject, random)
        except (MissedError, psutil.Error):
            time.sleep(0.05)
    raise StuckError(f"{name} could not happen within {PATIENCE:.0f} s; see {subject.log}")


def await_epochs(subject: Subject, count: int, deadline: float) -> None:
    """Waits until the runs have recorded so many further epochs."""
    wanted = subject.epochs() + count
    while subject.epochs() < wanted and time.monotonic() < deadline:
        keep_running(subject)
        time.sleep(0.02)


def keep_running(subject: Subject) -> None:
    """Gives the command again if it has ended, with more to do if it has done all that it had to.

    A search gets a larger budget. `retrain` makes further fits whenever the last ones are finished.
    """
    if subject.running():
        return
    if subject.done and not subject.seeds:
        subject.trials += MORE
    subject.start()


def _conclude(subject: Subject, result: Result, calm: Undisturbed) -> None:
    """Reads what the runs left, and checks it."""
    if wait_until(lambda: not subject.processes("mirror"), MIRRORS_WITHIN, pause=0.1) is None:
        subject.kill("mirror")
    # On busy cores a killed mirror holds its lock for some time, and sync refuses meanwhile.
    if subject.mirrored and wait_until(lambda: subject.begin_sync().wait(timeout=300) == 0, SYNCED_WITHIN) is None:
        result.problems["sync"] = [f"fer-tune sync did not copy everything within {SYNCED_WITHIN:.0f} s"]
    wait_until(lambda: not subject.processes(), 10.0, pause=0.1)
    processes = tuple(" ".join(process.cmdline()) for process in subject.processes())
    found = evidence.read(subject)
    effects: dict[str, list[Effect]] = {}
    for happened in result.happened:
        effects.setdefault(happened.fault, []).append(happened.effect)
    fitted = found.fits[0].config if found.fits else None
    calm_evidence = calm.evidence(subject.trials, fitted)
    case = Case(subject.trials, found, calm_evidence, effects, subject.mirrored, processes, bool(subject.seeds))
    result.case = case
    result.problems |= problems(case)
    result.budget, result.fits = subject.trials, len(found.fits)
    result.requeued = sum(trial.state == "requeued" for trial in found.trials)
    every = [*found.tries.values(), *(fit.tries for fit in found.fits)]
    result.attempts = sum(map(len, every))
    again = [seconds for tries in every for _, seconds, _ in repeated(tries)]
    result.repeated = round(max(again, default=0.0), 2)


__all__ = ["EPOCHS", "LONG", "SHORT", "Campaign", "Happened", "Result", "Undisturbed", "carry_out"]
