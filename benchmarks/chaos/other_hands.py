"""Another program in the database, while real runs use it: its queue, trials, study and tables."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from random import Random

import optuna
from optuna.trial import TrialState

from fer_tune.store import Store
from fer_tune.study import trials

from . import evidence
from .campaigns import Campaign, Happened, Result, Undisturbed, await_epochs
from .checks import Case, attempts_are_over, database_is_sound, doctor_is_content, measured, nothing_is_left
from .faults import Effect, MissedError
from .subject import EPOCHS, STUDY, StuckError, Subject, wait_until

ENDS_WITHIN = 60.0
"""Seconds within which a run must end after its study or a table is gone."""

REFUSED = 2
"""The exit code of a command that says what is wrong."""

POISON: tuple[object, ...] = ("abc", None, [1], {"low": 0})
"""Values that nobody can train with."""

TABLES = (
    "trial_intermediate_values",
    "trial_values",
    "trial_params",
    "trial_user_attributes",
    "trial_system_attributes",
)

OTHER_HANDS = Campaign(
    "other hands",
    {"poisoned entry": 6, "told trial": 6, "deleted trial": 4, "dropped table": 1, "deleted study": 1},
    trials=8,
)
"""What happens to its study. The last two happen at the end, because they end the run."""


def carry_out(seed: int, folder: Path, calm: Undisturbed, say: Callable[[str], object] = lambda text: None) -> Result:
    """Carries out the campaign and checks what it left."""
    result = Result(OTHER_HANDS, seed)
    subject = Subject(folder, workers=2, trials=OTHER_HANDS.trials)
    began = time.monotonic()
    try:
        _Hands(subject, Random(f"other hands/{seed}"), result, began, say).carry_out()
        _check(subject, result, calm)
    finally:
        subject.end_all()
    result.seconds = round(time.monotonic() - began, 1)
    return result


class _Hands:
    """Does what the plan says, and remembers what the run must make of it."""

    def __init__(
        self, subject: Subject, random: Random, result: Result, began: float, say: Callable[[str], object]
    ) -> None:
        self.subject, self.random, self.result, self.began, self.say = subject, random, result, began, say
        self.told: dict[int, tuple[str, float | None]] = {}
        self.problems: list[str] = []

    def carry_out(self) -> None:
        acts: dict[str, Callable[[], str]] = {
            "poisoned entry": self._poison,
            "told trial": self._tell,
            "deleted trial": self._delete_trial,
        }
        plan = [name for name in OTHER_HANDS.plan(self.result.seed) if name in acts]
        for name in plan:
            self._note(name, self._when_possible(acts[name]))
        self.subject.finish()
        self._compare()
        self._note("dropped table", self._drop_table())
        self._note("deleted study", self._delete_study())
        self.subject.finish()
        self.result.budget, self.result.runs = self.subject.trials, len(self.subject.ends)
        output = self.subject.log.read_text(encoding="utf-8", errors="replace")
        if "Traceback" in output:
            self.problems.append(f"a traceback is in {self.subject.log}")
        self.result.problems["other hands end no run"] = self.problems

    def _note(self, fault: str, what: str) -> None:
        at = round(time.monotonic() - self.began, 2)
        self.result.happened.append(Happened(fault, at, Effect(what)))
        self.say(f"{at:6.1f} s  {fault}: {what}")

    def _when_possible(self, act: Callable[[], str]) -> str:
        deadline = time.monotonic() + 240.0
        while time.monotonic() < deadline:
            await_epochs(self.subject, self.random.randint(1, EPOCHS // 2), deadline)
            try:
                return act()
            except (MissedError, ValueError, KeyError, RuntimeError):  # the trial has just ended
                time.sleep(0.05)
        raise StuckError(f"{act.__name__} could not happen; see {self.subject.log}")

    def _poison(self) -> str:
        value = self.random.choice(POISON)
        _study(self.subject).enqueue_trial({"lr": value})
        return f"lr = {value!r}"

    def _running(self) -> int:
        running = [trial.number for trial in _study(self.subject).get_trials(states=(TrialState.RUNNING,))]
        if not running or not self.subject.running():
            raise MissedError("no trial runs")
        return self.random.choice(running)

    def _tell(self) -> str:
        number, state = self._running(), self.random.choice((TrialState.FAIL, TrialState.COMPLETE))
        value = 0.125 if state == TrialState.COMPLETE else None
        _study(self.subject).tell(number, value, state=state)
        self.told[number] = ("complete" if value else "failed", value)
        return f"trial {number} {state.name}"

    def _delete_trial(self) -> str:
        number = self._running()
        with _sql(self.subject) as connection:
            [(key,)] = connection.execute("SELECT trial_id FROM trials WHERE number = ?", (number,)).fetchall()
            for table in (*TABLES, "trials"):
                connection.execute(f"DELETE FROM {table} WHERE trial_id = ?", (key,))
        return f"trial {number}"

    def _compare(self) -> None:
        """Notes entries and told trials that were treated wrongly."""
        with Store.of(self.subject.settings, create=False) as store:
            found = {trial.number: trial for trial in trials(store, STUDY)}
        for number, expected in self.told.items():
            if number in found and (found[number].state, found[number].value) != expected:
                self.problems.append(f"trial {number} was told {expected}, and is {found[number].state}")
        reasons = [str(trial.attrs.get("reason", "")) for trial in found.values() if trial.state == "failed"]
        failed = sum("queue is not valid" in reason for reason in reasons)
        failed += sum(trial.state == "waiting" for trial in found.values())  # the budget was used up before
        wanted = sum(happened.fault == "poisoned entry" for happened in self.result.happened)
        if failed != wanted:
            self.problems.append(f"of {wanted} poisoned entries {failed} failed with their reason or wait")
        running = [trial.number for trial in found.values() if trial.state in ("running", "interrupted")]
        if running:
            self.problems.append(f"trials {running} are left running")

    def _drop_table(self) -> str:
        """Drops a table during a run. The run ends, the next one is refused, a backup helps."""
        backup = self.subject.folder / "backup.db"
        self._require(["backup", "--to", str(backup)], 0)
        self._run_until_epochs()
        with _sql(self.subject) as connection:
            connection.execute("DROP TABLE trials")
        self._require_refusals("trials was dropped")
        with _sql(self.subject) as connection:
            if connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'trials'").fetchone():
                self.problems.append("the table trials was made again")
        self._require(["restore", str(backup), "--replace"], 0)
        self.subject.finish()
        return "trials, then restored from a backup"

    def _delete_study(self) -> str:
        """Deletes the study during a run. The run ends, and the name can be used again."""
        self._run_until_epochs()
        optuna.delete_study(study_name=STUDY, storage=self.subject.settings.url)
        self._require_refusals("the study was deleted")
        self._require(["studies", "delete", STUDY], 0)
        self.subject.trials = OTHER_HANDS.trials
        return "then deleted whole, and begun again"

    def _run_until_epochs(self) -> None:
        self.subject.trials += 4
        self.subject.start()
        await_epochs(self.subject, self.random.randint(1, EPOCHS), time.monotonic() + 240.0)

    def _require_refusals(self, why: str) -> None:
        if wait_until(lambda: not self.subject.running(), ENDS_WITHIN) is None:
            self.problems.append(f"{why}, and the run did not end within {ENDS_WITHIN:.0f} s")
            self.subject.kill()
        elif self.subject.ends[-1] != REFUSED:
            self.problems.append(f"{why}, and the run ended with {self.subject.ends[-1]}")
        self.subject.start()
        wait_until(lambda: not self.subject.running(), ENDS_WITHIN)
        if self.subject.ends[-1] != REFUSED:
            self.problems.append(f"{why}, and the next run ended with {self.subject.ends[-1]}")

    def _require(self, words: list[str], code: int) -> None:
        found = self.subject.call(words)
        if found != code:
            self.problems.append(f"fer-tune {words[0]} ended with {found}")


def _study(subject: Subject) -> optuna.Study:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return optuna.load_study(study_name=STUDY, storage=subject.settings.url)


@contextmanager
def _sql(subject: Subject) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(subject.database, timeout=30.0)) as connection, connection:
        yield connection


def _check(subject: Subject, result: Result, calm: Undisturbed) -> None:
    """Checks the study that was begun again, and that it trained what it would have trained."""
    found = evidence.read(subject)
    case = Case(subject.trials, found, calm.evidence(subject.trials), {}, mirrored=False, processes=())
    result.case = case
    for name, check in {
        "every attempt over": attempts_are_over,
        "database sound": database_is_sound,
        "doctor content": doctor_is_content,
        "nothing left behind": nothing_is_left,
        "epochs equal, bit for bit": _epochs_are_equal,
    }.items():
        result.problems[name] = list(check(case))
    result.attempts = sum(map(len, found.tries.values()))


def _epochs_are_equal(case: Case) -> Iterator[str]:
    for seed, tries in case.found.tries.items():
        calm = {row.epoch: measured(row) for one in case.calm.tries.get(seed, ()) for row in one.rows}
        if any(measured(row) != calm.get(row.epoch) for one in tries for row in one.rows):
            yield f"the trial with seed {seed} measured something else"
