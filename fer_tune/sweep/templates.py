"""Writes a sweep to start from, from the catalogue: what `fer-tune init FAMILY` prints."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from fer_tune.errors import SweepError
from fer_tune.models import FAMILIES, family_files
from fer_tune.sweep.catalogue import catalogue
from fer_tune.sweep.error_messages import nearest
from fer_tune.sweep.schema import OBJECTIVES, PRUNERS, SAMPLERS, SweepKeys, SweepLimits
from fer_tune.sweep.space import show

SEARCHED = {
    "optimizer": " {choices: [muon, sgd, adamw]}",
    "lr": """
    - {low: 0.01, high: 0.3, log: true, when: {optimizer: sgd}}
    - {low: 1.0e-4, high: 5.0e-3, log: true, when: {optimizer: adamw}}
    - {low: 5.0e-4, high: 8.0e-3, log: true, when: {optimizer: muon}}""",
    "weight_decay": """
    - {low: 1.0e-4, high: 2.0e-3, log: true, when: {optimizer: sgd}}
    - {low: 1.0e-3, high: 0.3, log: true, when: {optimizer: adamw}}
    - {low: 1.0e-2, high: 0.5, log: true, when: {optimizer: muon}}""",
    "label_smoothing": " {low: 0.0, high: 0.2, off: 0.5}",
    "self_distillation": " {low: 0.0, high: 0.9, off: 0.5}",
    "head_dropout": " {low: 0.0, high: 0.6, off: 0.5}",
    "block_dropout": " {low: 0.0, high: 0.2, off: 0.5}",
    "block_dropout_step": " {low: 0.0, high: 0.1, off: 0.5}",
    "dropout_ramp": " {choices: [constant, rising, falling]}",
    "augment": " {low: 0.0, high: 1.0, off: 0.5}",
    "mixup": " {low: 0.0, high: 0.5, off: 0.5}",
    "cutmix": " {low: 0.0, high: 0.5, off: 0.5}",
    "sampling": " {choices: [natural, weighted, class_weights]}",
    "sampling_power": " {low: 0.1, high: 1.0, when: {sampling: [weighted, class_weights]}}",
}
"""What the template searches. It names everything else in a comment, with its default."""


def template(family: str) -> str:
    """Returns the text of a commented sweep of `family`, which can be run as it is.

    Args:
        family: a name, or a file and a class such as `./mynet.py:MyNet`.

    Raises:
        SweepError: `family` is not the name of a family.
        TrainingError: the file cannot be read or imported, or has no such family.
    """
    if family_files.is_written(family):
        return "\n".join(_lines(family_files.register(family, Path()), family)) + "\n"
    if family not in FAMILIES:
        near = nearest(family, FAMILIES.alternatives(family))
        raise SweepError(
            f"{family!r} is not a family{near}.",
            f"Families: {', '.join(FAMILIES)}, torchvision/NAME for torchvision's networks, or ./FILE.py:CLASS.",
        )
    return "\n".join(_lines(family, family)) + "\n"


def _lines(family: str, written: str) -> Iterator[str]:
    """Yields the lines.

    Args:
        written: the family as the sweep names it.
    """
    study = written.rpartition("/")[2].rpartition(":")[2]
    about = {name: info.description for name, info in SweepKeys.model_fields.items()}
    yield from (
        f"# A sweep of {written}: {FAMILIES[family].summary}",
        "#",
        "#     fer-tune check FILE     shows what it searches",
        "#     fer-tune run FILE       searches; the same command again continues the study",
        "#",
        "# A plain value is fixed, {low, high, log, step} is a range, and {choices: [...]} is a category.",
        "# With `off: 0.5`, half of the draws are `low` itself: the trick is left out.",
        "# `when` makes a hyperparameter conditional, and a list gives it alternatives.",
        "# A hyperparameter that is not named has its default.",
        "",
        f"# study: {study}  # {about['study']}",
        f"family: {written}",
        f"data: fer2013  # {about['data']}",
        "split: {policy: stratified, val: 0.15, test: 0.15, seed: 42}  # or: usage, the data set's own parts",
        f"objective: val_accuracy  # one of {', '.join(OBJECTIVES)}",
        f"objective_of: max  # {about['objective_of']}",
        f"sampler: effects  # one of {', '.join(SAMPLERS)}; with options: {{name: tpe, n_startup_trials: 10}}",
        "# Trials pause at rungs, and the best quarter of each rung continues. With `strategy: prune`, a",
        "# pruner stops trials for good. A step of a pruner is an epoch. The pruners are:",
        f"# {', '.join(PRUNERS)}.",
        "search: {strategy: promote, factor: 4}",
        "# pruner: {name: median, n_startup_trials: 5, n_warmup_steps: 5}",
        "# schedule: deterministic  # the same sequence of trials whatever the timing of workers",
        "budget: {trials: 100, epochs: 30}  # and hours: 0.5, the wall time of one run",
        f"seed: 0  # {about['seed']}",
        f"patience: 0  # {about['patience']}",
        f"retries: 2  # {about['retries']}",
        f"# lanes: auto  # {about['lanes']}",
        *(
            f"# {name}: {'null' if info.default is None else show(info.default)}  # {info.description}"
            for name, info in SweepLimits.model_fields.items()
        ),
        "",
        "params:",
    )
    for name, hyper in catalogue(family).items():
        if hyper.description:
            yield f"  # {hyper.description}"
        yield f"  # ({hyper.allowed}; default {show(hyper.default)})"
        yield f"  {name}:{SEARCHED[name]}" if name in SEARCHED else f"  # {name}: {show(hyper.default)}"
    yield from (
        "",
        "# Configurations to try first. The sampler fills in what they leave out.",
        "start:",
        "  - {name: a sound start, optimizer: sgd, lr: 0.05, weight_decay: 5.0e-4, augment: 0.3, sampling: natural}",
    )
