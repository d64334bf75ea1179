"""The source of the final fits of an ensemble's networks."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack

from fer_tune.jobs.outcome import Plan
from fer_tune.settings import Settings
from fer_tune.sources.final_job import final_job, last_epoch
from fer_tune.sources.job_list import JobList
from fer_tune.sources.members import Chosen, Key, MemberCandidate
from fer_tune.store import Store, StudyLock, StudyRecord, final_lock


class MemberFits(JobList):
    """The source of the final fits of those networks that one study has.

    A network that `retrain` has trained in the same way is taken from there.

    Args:
        networks: the configurations, each with the number of its networks.
        id: of the ensemble. The same ensemble continues its fits.

    Attributes:
        record: the study.
        id: of the ensemble.
        by_network: the uid of each network, by its configuration and its place among its seeds.
    """

    def __init__(
        self,
        store: Store,
        settings: Settings,
        record: StudyRecord,
        networks: Sequence[tuple[MemberCandidate, int]],
        *,
        id: str,
        epochs: int | None,
        lock: StudyLock,
        mirrored: bool,
    ) -> None:
        self.record, self.id = record, id
        schedule, seed = epochs or int(record.sweep_json["epochs"]), int(record.sweep_json["seed"])
        self.by_network: dict[tuple[Key, int], str] = {}
        self._origins: dict[str, dict[str, object]] = {}
        jobs = []
        for one, count in networks:
            until = last_epoch(store, record, one.trial, schedule)
            for place in range(count):
                job = final_job(
                    store, settings, record, one.trial, batch=id, schedule=schedule, until=until, seed=seed + place,
                    changes=one.changes, reuse=True,
                )  # fmt: skip
                jobs.append(job)
                self.by_network[one.key, place] = job.uid
                self._origins[job.uid] = {"trial": one.trial.number, "changes": dict(one.changes)}
        plan = Plan(
            study=record.name,
            kind="final",
            family=record.family,
            data=record.data_source,
            objective="train_accuracy",
            jobs=len(jobs),
            epochs=schedule,
            budget={"members": len(jobs), "epochs": schedule},
        )
        origin = {"until": "best", "batch": id, "seeds": len(jobs), "trial": networks[0][0].trial.number}
        super().__init__(store, plan, jobs, lock=lock, origin=origin, mirrored=mirrored)

    def origin_of(self, uid: str) -> dict[str, object]:
        """Returns what is recorded with a job: its own trial and changes."""
        return {**self._origin, **self._origins[uid]}

    @classmethod
    def of(
        cls,
        store: Store,
        settings: Settings,
        chosen: Chosen,
        *,
        epochs: int | None,
        mirrored: bool,
        held: ExitStack,
    ) -> list[MemberFits]:
        """Returns a source for each study that has a member, and locks its fits.

        Args:
            held: releases the locks.
        """
        id, by_study = chosen.identity(epochs), dict[str, list[tuple[MemberCandidate, int]]]()
        for one, count in chosen.networks.values():
            by_study.setdefault(one.record.name, []).append((one, count))
        found = []
        for name, some in by_study.items():
            lock = store.patiently(StudyLock(settings, settings.url, final_lock(name, id)).acquire)
            held.callback(lock.release)
            record = some[0][0].record
            found.append(cls(store, settings, record, some, id=id, epochs=epochs, lock=lock, mirrored=mirrored))
        return found
