"""What the runs that follow a search have in common: observers, store, signals and workers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from fer_tune.jobs.limits import Limits
from fer_tune.jobs.observers import Observers
from fer_tune.jobs.outcome import StudyOutcome
from fer_tune.jobs.runner import Runner
from fer_tune.jobs.signals import Signals
from fer_tune.jobs.source import Source
from fer_tune.pool import Pool
from fer_tune.pool.port import TrainerFactory, load_trainer
from fer_tune.settings import Settings
from fer_tune.sources.images import in_cache, load_again
from fer_tune.sources.run import open_store, watch_results
from fer_tune.sources.workers import RunOptions, open_pool
from fer_tune.store import Store, StudyRecord
from fer_tune.sweep.schema import SweepLimits


@dataclass
class Wiring:
    """A run of jobs while it is open.

    Attributes:
        settings: the storage folder that records the jobs.
        held: what is closed or released at the end of the run.
        pool: the workers, once `train` has started them.
    """

    settings: Settings
    options: RunOptions
    observers: Observers
    store: Store
    signals: Signals
    held: ExitStack
    trainer: TrainerFactory
    pool: Pool | None = None

    @property
    def mirrored(self) -> bool:
        """Whether trackers may copy the jobs."""
        return self.options.wandb != "disabled"

    def begin(self) -> None:
        """Adds the observers that copy results, and handles signals. Call it once the source is
        known to be valid."""
        self.signals.hurry = self.store.patiently.hurry
        watch_results(self.observers, self.store, self.settings, self.options)
        self.held.enter_context(self.signals.handled())

    def keep_images(self, *records: StudyRecord) -> None:
        """Loads the images of these studies again if they are not in the cache, which can be
        emptied to save space.

        Raises:
            SettingsError: a device does not exist. That is seen before the images are read.
            DataError: the images cannot be read, or are not those of the study any more.
        """
        for record in records:
            if not in_cache(record, self.settings):
                self.options.chosen.devices(self.options.devices, self.options.workers)
                load_again(record, self.settings, self.observers.note)

    def train(self, source: Source, limits: Limits, most: int) -> StudyOutcome:
        """Starts workers, and trains the jobs of a source on them.

        Args:
            most: the number of jobs.
        """
        patience, note = SweepLimits().storage_patience, self.observers.note
        pool = open_pool(self.settings, self.options, patience, note, trainer=self.trainer, most=most)
        self.held.callback(pool.close)
        self.pool = pool
        lanes = self.options.lanes or "auto"
        return Runner(source, pool, self.store, self.observers, self.signals, limits, lanes).run()

    def end_workers(self) -> None:
        """Ends the workers, because what comes next needs their memory."""
        if self.pool is not None:
            self.pool.close()


@contextmanager
def wired(
    settings: Settings,
    options: RunOptions | None,
    observers: Observers,
    trainer: TrainerFactory = load_trainer,
    place: Callable[[Settings], Settings] = lambda settings: settings,
) -> Iterator[Wiring]:
    """Opens the store for a run of jobs, and yields what the run needs.

    A second Ctrl-C ends the body at once. That is said, and the code after the body continues.

    Args:
        observers: the list with that of the caller; see `observers_of`.
        place: returns the storage folder that records the jobs, which may be another one.
    """
    at_once = False
    with ExitStack() as held:
        held.enter_context(observers)
        settings = place(settings)
        Store.of(settings, create=False, note=observers.note).close()  # refuses a wrong storage without waiting
        store = held.enter_context(open_store(settings, SweepLimits().storage_patience, observers.note))
        try:
            yield Wiring(settings, options or RunOptions(), observers, store, Signals(), held, trainer)
        except KeyboardInterrupt:
            at_once = True
    if at_once:
        observers.note("The run was ended at once. The same command continues from the last checkpoints.")
