"""`fer-tune stop`: ends a run from another terminal."""

from __future__ import annotations

from fer_tune import api
from fer_tune.cli.options import Storage, StudyArgument, StudyName, one_study
from fer_tune.display import terminal

EXAMPLES = ("fer-tune stop resnet",)


def stop(study: StudyArgument = None, named: StudyName = None, storage: Storage = None) -> None:
    """Ask the run or the confirmation of a study to end, as one Ctrl-C does.

    Trainings leave checkpoints. The command that was stopped continues them.
    """
    name = api.find_study(one_study(study, named), storage=storage).name
    holder = api.stop(name, storage=storage)
    terminal.note(f"{name}: {holder} was asked to end. `fer-tune run` or `fer-tune confirm` continues it.")
