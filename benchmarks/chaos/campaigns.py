"""Campaigns: faults and moments drawn from a seed, carried out on a run, and what came of it."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import psutil

from . import evidence
from .checks import Case, problems, repeated
from .evidence import Evidence
from .faults import FAULTS, Effect, MissedError, small_disk
from .subject import EPOCHS, StuckError, Subject, wait_until

EARLY = 0.3
"""How many of the faults that may come early do: within seconds of the one before, while the run starts."""

EARLY_SECONDS = 4.0
WITHIN_EPOCH = 0.15
"""Seconds that a fault waits at most after an epoch was recorded, so that it meets every part of the next one."""

MORE = 2
"""Trials by which the budget grows where the study is done before all faults have happened."""

PATIENCE = 240.0
"""Seconds in which a run must get as far as the next fault."""

MIRRORS_WITHIN = 120.0
"""Seconds in which mirrors have copied what is left: they let every other process go first."""

Say = Callable[[str], object]


@dataclass(frozen=True)
class Campaign:
    """A mix of faults for one study.

    Attributes:
        faults: how many of each kind.
        workers: worker processes.
        trials: the budget at the start.
        hang: seconds without an epoch that end a worker.
        small: whether the storage folder lies on a small disk.
    """

    name: str
    faults: Mapping[str, int]
    workers: int = 2
    trials: int = 8
    mirrored: bool = False
    hang: float = 60.0
    small: bool = False

    def plan(self, seed: int) -> list[str]:
        """The faults in the order in which they happen."""
        plan = [name for name, count in self.faults.items() for _ in range(count)]
        Random(f"{self.name}/{seed}").shuffle(plan)
        return plan


SHORT = Campaign(
    "short",
    {"SIGKILL worker": 9, "SIGKILL orchestrator": 2, "SIGKILL mirror": 4},
    trials=10,
    mirrored=True,
)
"""15 kills, with the undisturbed run in some 75 s on two idle cores."""

LONG = (
    Campaign("workers", {"SIGKILL worker": 52}, trials=16),
    Campaign("orchestrator", {"SIGKILL orchestrator": 16}, trials=8),
    Campaign("mirror", {"SIGKILL mirror": 12, "SIGKILL orchestrator": 3}, trials=10, mirrored=True),
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
    """What came of a campaign.

    Attributes:
        budget: trials in the end.
        runs: how often the command was given.
        problems: by check, what is wrong.
        repeated: epochs that were trained again are worth so many seconds, at most, in one attempt.
        case: what the checks looked at; None if it did not come to that.
        skipped: why it was not carried out; empty if it was.
    """

    campaign: Campaign
    seed: int
    happened: list[Happened] = field(default_factory=list)
    budget: int = 0
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
        """Whether all held."""
        return not self.skipped and not any(self.problems.values())


class Undisturbed:
    """The inline run that says what must come out; made once, and made longer where a campaign needs more trials."""

    def __init__(self, folder: Path) -> None:
        self.subject = Subject(folder, workers=0, trials=0)
        self._evidence: Evidence | None = None

    def close(self) -> None:
        """Ends it."""
        self.subject.end_all()

    def evidence(self, trials: int) -> Evidence:
        """Of at least so many trials."""
        if self._evidence is None or trials > self.subject.trials:
            self.subject.trials = trials
            self.subject.start()
            self.subject.finish()
            self._evidence = evidence.read(self.subject)
        return self._evidence


def carry_out(campaign: Campaign, seed: int, folder: Path, calm: Undisturbed, say: Say = lambda text: None) -> Result:
    """Carries out a campaign in a folder of its own, and checks what it left.

    Raises:
        StuckError: the run did not get on; its output lies in the folder.
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
        subject = Subject(folder, campaign.workers, campaign.trials, campaign.mirrored, campaign.hang)
        stack.callback(subject.end_all)
        calm.evidence(campaign.trials)
        subject.use_cache(calm.subject)
        _disturb(subject, campaign, seed, result, say)
        _conclude(subject, result, calm)
    return result


def _save(small: Path, result: Result) -> None:
    """Copies what lies on a small disk, which is gone with it, to where it can be looked at, if anything went wrong."""
    if result.case is None or not result.passed:
        shutil.copytree(small, small.with_name(f"{small.name}-disk"), dirs_exist_ok=True)


def _disturb(subject: Subject, campaign: Campaign, seed: int, result: Result, say: Say) -> None:
    """Lets the faults of the plan happen, one after another, and the run reach its budget."""
    random = Random(f"{campaign.name}/{seed}/moments")
    began = time.monotonic()
    for name in campaign.plan(seed):
        effect = _inject(subject, name, random)
        at = time.monotonic() - began
        result.happened.append(Happened(name, round(at, 2), effect))
        say(f"{at:6.1f} s  {name}: {effect.what}{' — ' + effect.wrong if effect.wrong else ''}")
    subject.finish()
    result.seconds = round(time.monotonic() - began, 1)


def _inject(subject: Subject, name: str, random: Random) -> Effect:
    """Waits for the fault's moment and lets it happen; again where there was nothing to which it could."""
    fault = FAULTS[name]
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if fault.early and random.random() < EARLY:
            _keep_running(subject)
            time.sleep(random.uniform(0.0, EARLY_SECONDS))
        else:
            _await_epochs(subject, random.randint(*fault.epochs), deadline)
            time.sleep(random.uniform(0.0, WITHIN_EPOCH))
        try:
            return fault.inject(subject, random)
        except (MissedError, psutil.Error):
            time.sleep(0.05)
    raise StuckError(f"{name} could not happen within {PATIENCE:.0f} s; see {subject.log}")


def _await_epochs(subject: Subject, count: int, deadline: float) -> None:
    wanted = subject.epochs() + count
    while subject.epochs() < wanted and time.monotonic() < deadline:
        _keep_running(subject)
        time.sleep(0.02)


def _keep_running(subject: Subject) -> None:
    """Gives the command again if it has ended; with a larger budget if it has met its own."""
    if subject.running():
        return
    if subject.done:
        subject.trials += MORE
    subject.start()


def _conclude(subject: Subject, result: Result, calm: Undisturbed) -> None:
    """Reads what is left, and checks it."""
    wait_until(lambda: not subject.processes("mirror"), MIRRORS_WITHIN)  # of orchestrators that were killed
    if subject.mirrored and (code := subject.begin_sync().wait(timeout=300)) != 0:
        result.problems["sync"] = [f"fer-tune sync ended with {code}"]
    wait_until(lambda: not subject.processes(), 10.0)
    processes = tuple(" ".join(process.cmdline()) for process in subject.processes())
    found = evidence.read(subject)
    effects: dict[str, list[Effect]] = {}
    for happened in result.happened:
        effects.setdefault(happened.fault, []).append(happened.effect)
    case = Case(subject.trials, found, calm.evidence(subject.trials), effects, subject.mirrored, processes)
    result.case = case
    result.problems |= problems(case)
    result.budget, result.runs = subject.trials, len(subject.ends)
    result.requeued = sum(trial.state == "requeued" for trial in found.trials)
    result.attempts = sum(len(tries) for tries in found.tries.values())
    again = [seconds for tries in found.tries.values() for _, seconds, _ in repeated(tries)]
    result.repeated = round(max(again, default=0.0), 2)


__all__ = ["EPOCHS", "LONG", "SHORT", "Campaign", "Happened", "Result", "Undisturbed", "carry_out"]
