"""The source of confirmations: the best trials of a study, each trained under new seeds.

It is a race. A trial that is clearly behind gets no more seeds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from fer_tune.errors import StudyError
from fer_tune.job import Job, new_uid
from fer_tune.jobs.checkpoints import checkpoint_path
from fer_tune.jobs.observers import Observer
from fer_tune.jobs.outcome import Ended, Plan, Reason, StudyOutcome
from fer_tune.pool.port import TrainerFactory, load_trainer
from fer_tune.selection.race import FIRST_LOOK
from fer_tune.settings import Settings
from fer_tune.sources.final_job import checkpoint_seconds
from fer_tune.sources.job_list import JobList
from fer_tune.sources.run import observers_of, recorded_limits
from fer_tune.sources.wiring import wired
from fer_tune.sources.workers import RunOptions
from fer_tune.store import ConfirmLock, JobRecord, Store, StudyLock, StudyRecord
from fer_tune.study import Counts, TrialSummary, ranking
from fer_tune.study.confirmations import ConfirmationReader, Confirmations, seed_of
from fer_tune.study.standings import Standings, standings


class ConfirmationSource(JobList):
    """The source of the confirmations of one study.

    The jobs of the first two rounds of seeds start at once. A job of a later round starts when all
    trials in the race have the round before. So how the race ends does not depend on the number of
    workers. Trials that were confirmed before stay in the race.

    Args:
        top: how many of the best trials are confirmed.
        seeds: how many new seeds each of them gets at most.
        lock: keeps other processes away from the confirmations of the study.
        mirrored: whether trackers may copy the jobs.

    Raises:
        StudyError: the study does not exist, or no trial is complete yet.
    """

    def __init__(
        self,
        store: Store,
        settings: Settings,
        study: str,
        *,
        top: int,
        seeds: int,
        lock: StudyLock,
        mirrored: bool = True,
    ) -> None:
        self._settings, self._record = settings, store.studies.get(study)
        self._reader = ConfirmationReader(store, self._record)
        complete = ranking(store, study, None)
        if not complete:
            raise StudyError(f"The study {study} has no complete trial yet.", "Run its sweep for longer first.")
        asked = [trial.number for trial in complete[:top]]
        known = self._reader.jobs()
        trials = [*asked, *(int(job.origin["trial"]) for job in known)]
        self._seeds = max([seeds, *(int(job.origin["seeds"]) for job in known)])
        self._asked = tuple(dict.fromkeys(trials))
        by_number = {trial.number: trial for trial in complete}
        rounds = [
            self._job(by_number[number], place, known)
            for place in range(self._seeds)
            for number in self._asked
            if number in by_number
        ]
        self._place = {job.uid: (number, place) for job, number, place in rounds}
        plan = Plan(
            study=study,
            kind="confirm",
            family=self._record.family,
            data=self._record.data_source,
            objective=self._record.objective,
            jobs=len(rounds),
            epochs=int(self._record.sweep_json["epochs"]),
            budget={"top": top, "seeds": self._seeds},
        )
        super().__init__(store, plan, [job for job, *_ in rounds], lock=lock, origin={}, mirrored=mirrored)
        self._state = self._read()

    @property
    def record(self) -> StudyRecord:
        """The study."""
        return self._record

    # called by the runner -----------------------------------------------------------------------------------------

    def begin(self, left: Callable[[], float]) -> Counts:
        """Tries failed jobs again, as a new run does, and cleans up after earlier runs."""
        for record in self.records():
            if record.state == "failed":
                self._store.jobs.set_state(record.uid, "queued")
        counts = super().begin(left)
        self._state = self._read()
        return counts

    def wanted(self) -> bool:
        """Returns whether a job may start now."""
        return self._next() is not None

    def next(self) -> Job:
        """Records and returns the next job of the race."""
        job = self._next()
        assert job is not None
        self._todo.remove(job)
        self._todo.appendleft(job)
        return super().next()

    def origin_of(self, uid: str) -> dict[str, int]:
        """Returns what is recorded with a job: which trial it repeats, and under which seed."""
        trial, place = self._place[uid]
        return {"trial": trial, "round": place, "seeds": self._seeds}

    def ended(self, job: Job, ended: Ended) -> None:
        """Records how a job ended, and looks at the race again."""
        super().ended(job, ended)
        self._state = self._read()

    def outcome(self, reason: Reason) -> StudyOutcome:
        """Returns how many jobs ended in which way, and the leader with its confirmed mean."""
        leader = next(iter(self._state.race.places), None)
        best, value = (leader.candidate, leader.mean) if leader else (None, None)
        return StudyOutcome(self.plan.study, self.counts(), best, value, reason)

    def unfinished(self) -> bool:
        """Returns whether a job must be trained, or trained again because it failed."""
        failed = any(record.state == "failed" for record in self.records())
        return failed or self.wanted()

    # within -------------------------------------------------------------------------------------------------------

    def _read(self) -> Confirmations:
        found = self._store.patiently(lambda: self._reader.read(self._asked, self._seeds))
        assert found is not None
        return found

    def _next(self) -> Job | None:
        """Returns the first job of the earliest round that may start, or None."""
        allowed = max(FIRST_LOOK, self._state.race.seeds + 1)
        for job in self._todo:
            trial, place = self._place[job.uid]
            if trial in self._state.race.racing and place < allowed:
                return job
        return None

    def _job(self, trial: TrialSummary, place: int, known: Sequence[JobRecord]) -> tuple[Job, int, int]:
        record, seed = self._record, seed_of(self._record, place)
        mine = [job for job in known if (job.origin["trial"], job.seed) == (trial.number, seed)]
        uid = mine[0].uid if mine else new_uid()
        attempts = self._reader.store.jobs.attempts(record.name, uid) if mine else []
        checkpoints = self._settings.checkpoint_folder(record.name, record.uid)
        job = Job(
            uid=uid,
            study=record.name,
            kind="confirm",
            family=record.family,
            params=trial.params,
            schedule=int(record.sweep_json["epochs"]),
            seed=seed,
            data=record.data_ref(self._settings.root),
            name=trial.name,
            attempt=max((attempt.attempt + 1 for attempt in attempts), default=0),
            objective=record.objective,
            objective_of=record.sweep_json.get("objective_of", "max"),
            patience=int(record.sweep_json["patience"]),
            artifacts=self._settings.job_folder(record.name, record.uid, uid),
            checkpoint=checkpoint_path(checkpoints, uid),
            checkpoint_seconds=checkpoint_seconds(record),
        )
        return job, trial.number, place


def run_confirmations(
    study: str,
    settings: Settings,
    options: RunOptions | None = None,
    *,
    top: int = 5,
    seeds: int = 3,
    observer: Observer | None = None,
    trainer: TrainerFactory = load_trainer,
) -> Standings | None:
    """Trains the best trials of a study under new seeds, and returns the study's standings.

    The trainings run side by side on all devices, and every epoch is recorded. The same call
    continues a run that was killed, and adds nothing to one that is complete.

    Args:
        top: how many of the best trials are confirmed.
        seeds: how many new seeds each of them gets at most.
        observer: is called for everything that happens, such as a display.

    Returns:
        The standings, or None if Ctrl-C or SIGTERM interrupted the run.

    Raises:
        StudyError: the study does not exist, has no complete trial, or is being confirmed already.
        DataError: the study's images are neither in the cache nor where the sweep named them.
        SettingsError: a device does not exist.
        StorageError: the database cannot be used, or a file cannot be written.
        PoolError: workers cannot be started, or keep dying.
        TrainingError: every job fails.
    """
    with wired(settings, options, observers_of(settings, observer), trainer) as run:
        run.store.studies.get(study)  # before a lock file of a wrong name is made
        lock = run.store.patiently(ConfirmLock(settings, settings.url, study).acquire)
        run.held.callback(lock.release)
        source = ConfirmationSource(run.store, settings, study, top=top, seeds=seeds, lock=lock, mirrored=run.mirrored)
        run.keep_images(source.record)
        run.begin()
        if source.unfinished():
            outcome = run.train(source, recorded_limits(source.record), len(source.jobs))
        else:
            outcome = source.outcome("budget")
        run.observers.study_closed(outcome)
        return None if run.signals.requested else standings(run.store, study)
    return None
