"""When each attempt at the jobs of a study began and ended."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from fer_tune.job import Kind, trained_by_attempt
from fer_tune.store import Store


@dataclass(frozen=True)
class AttemptSpan:
    """One attempt at a job, from its start to its end.

    Attributes:
        job: its uid.
        worker: whose device trained it.
    """

    job: str
    kind: Kind
    worker: int
    start: datetime
    end: datetime


def attempt_spans(store: Store, study: str) -> Iterator[AttemptSpan]:
    """Yields the attempts of a study.

    Nobody recorded when an attempt of a killed run ended. Such an attempt lasts as long as the
    epochs took that it trained.

    Raises:
        StudyError: the study does not exist.
    """
    trained = trained_by_attempt(store.epochs.all(study))
    for one in store.jobs.attempts(study):
        epochs = trained.get((one.job, one.attempt), ())
        known = one.started + timedelta(seconds=sum(row.seconds for row in epochs))
        end = known if one.ended is None or one.status == "lost" else one.ended
        yield AttemptSpan(one.job, one.kind, one.worker, one.started, end)
