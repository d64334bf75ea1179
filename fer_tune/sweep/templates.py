"""Writes a sweep to start from, from the catalogue: what `fer-tune init FAMILY` prints."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from fer_tune.data.spec import FER2013
from fer_tune.errors import SweepError
from fer_tune.models import FAMILIES, Family, family_files, start_weights
from fer_tune.sweep.catalogue import catalogue
from fer_tune.sweep.error_messages import nearest
from fer_tune.sweep.schema import (
    OBJECTIVES,
    PRUNERS,
    SAMPLERS,
    Budget,
    SearchSpec,
    Section,
    SweepKeys,
    SweepLimits,
)
from fer_tune.sweep.space import show
from fer_tune.sweep.yaml_nodes import dump

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
    "self_distillation": " {low: 0.0, high: 0.9}",
    "head_dropout": " {low: 0.0, high: 0.6, off: 0.5}",
    "block_dropout": " {low: 0.0, high: 0.2, off: 0.5}",
    "block_dropout_step": " {low: 0.0, high: 0.1, off: 0.5}",
    "dropout_ramp": " {choices: [constant, rising, falling]}",
    "augment": " {low: 0.0, high: 1.0}",
    "mixup": " {low: 0.0, high: 0.5, off: 0.5}",
    "cutmix": " {low: 0.0, high: 0.5, off: 0.5}",
    "sampling": " {choices: [natural, weighted, class_weights]}",
    "frozen": " {choices: [none, stem, half, features]}",
    "sampling_power": " {low: 0.1, high: 1.0, when: {sampling: [weighted, class_weights]}}",
}
"""What the template searches. It names everything else in a comment, with its default."""


NEW = "optimizer: sgd, lr: 0.05, weight_decay: 5.0e-4, augment: 0.3, sampling: natural"
TUNED = "optimizer: adamw, lr: 3.0e-4, weight_decay: 0.05, augment: 0.3, sampling: natural, frozen: none"
"""A sound start for new weights, and for those of a file."""

EXAMPLES = {"prior": "{from: start, confidence: medium}"}
"""What the template shows of keys whose default says little."""


def template(family: str, weights: str | None = None) -> str:
    """Returns the text of a commented sweep of `family`, which can be run as it is.

    Args:
        family: a name, or a file and a class such as `./mynet.py:MyNet`.
        weights: a file that the network starts from.

    Raises:
        SweepError: `family` is not the name of a family.
        TrainingError: a file cannot be read or imported, or has no such family, or other weights.
    """
    if family_files.is_written(family):
        known = family_files.register(family, Path())
        if weights is not None:
            start_weights.register(known, weights, Path(), FER2013)
        return "\n".join(_lines(known, family)) + "\n"
    if family not in FAMILIES:
        near = nearest(family, FAMILIES.alternatives(family))
        raise SweepError(
            f"{family!r} is not a family{near}.",
            f"Families: {', '.join(FAMILIES)}, torchvision/NAME for torchvision's networks, or ./FILE.py:CLASS.",
        )
    if weights is None:
        return "\n".join(_lines(family, family)) + "\n"
    spec = replace(FER2013, side=_side(FAMILIES[family]))
    return "\n".join(_lines(start_weights.register(family, weights, Path(), spec), family, weights)) + "\n"


def _side(family: Family) -> int:
    """Returns the side of FER2013's images, or the next larger one that the family takes."""
    return family.side_from(max(FER2013.side, family.smallest_side))


def _lines(family: str, written: str, weights: str | None = None) -> Iterator[str]:
    """Yields the lines.

    Args:
        written, weights: as the sweep names them.
    """
    yield from _heading(family, written)
    yield ""
    yield from _keys(family, written, weights)
    yield ""
    yield "params:"
    yield from _params(family)
    yield ""
    yield "# Configurations to try first. The sampler fills in what they leave out."
    yield "start:"
    yield f"  - {{name: a sound start, {NEW if weights is None else TUNED}}}"


def _heading(family: str, written: str) -> Iterator[str]:
    yield f"# A sweep of {written}: {FAMILIES[family].summary}"
    yield from (
        "#",
        "#     fer-tune check FILE     shows what it searches",
        "#     fer-tune run FILE       searches; the same command again continues the study",
        "#",
        "# A plain value is fixed, {low, high, log, step} is a range, and {choices: [...]} is a category.",
        "# With `off: 0.5`, half of the draws are `low` itself: the trick is left out.",
        "# `when` makes a hyperparameter conditional, and a list gives it alternatives.",
        "# A hyperparameter that is not named has its default.",
    )


def _keys(family: str, written: str, weights: str | None) -> Iterator[str]:
    """Yields all keys but `params` and `start`, those of a usual sweep with their values."""
    about = {name: info.description for name, info in SweepKeys.model_fields.items()}
    study = written.rpartition("/")[2].rpartition(":")[2]
    side = _side(FAMILIES[family])
    images = "fer2013" if side == FER2013.side else f"{{path: fer2013, side: {side}}}"
    yield f"# study: {study}  # {about['study']}"
    yield f"# extends: null  # {about['extends']}"
    yield f"family: {written}"
    given = "# weights: null" if weights is None else dump({"weights": weights}, False).strip()
    yield f"{given}  # {about['weights']}"
    yield from (
        f"data: {images}  # {about['data']}",
        "# With `policy: usage`, the parts are the data set's own.",
        "split: {policy: stratified, val: 0.15, test: 0.15, seed: 42, group_duplicates: true}",
        f"objective: val_accuracy  # one of {', '.join(OBJECTIVES)}",
        f"objective_of: max  # {about['objective_of']}",
        f"sampler: effects  # one of {', '.join(SAMPLERS)}; with options: {{name: tpe, n_startup_trials: 10}}",
        "# Trials pause at rungs, and the best quarter of each rung continues. With `search: prune`, a",
        "# pruner stops trials for good. A step of a pruner is an epoch. The pruners are:",
        f"# {', '.join(PRUNERS)}.",
        *_section("search", SearchSpec, {"strategy": "promote", "factor": "4", "compare": "val_loss"}),
        "# pruner: {name: median, n_startup_trials: 5, n_warmup_steps: 5}",
        "# schedule: {name: deterministic, slots: 8}  # the same sequence of trials whatever the timing of workers",
        *_section("budget", Budget, {"trials": "100", "epochs": "30"}),
        f"seed: 0  # {about['seed']}",
        f"patience: 0  # {about['patience']}",
        f"retries: 2  # {about['retries']}",
        f"# lanes: auto  # {about['lanes']}",
    )
    for name, info in SweepLimits.model_fields.items():
        yield f"# {name}: {'null' if info.default is None else show(info.default)}  # {info.description}"


def _section(key: str, section: type[Section], values: Mapping[str, str]) -> Iterator[str]:
    """Yields a section with all its keys. Those that have no value here are comments, with their
    defaults.
    """
    yield f"{key}:"
    for name, info in section.model_fields.items():
        default = EXAMPLES.get(name) or ("null" if info.default is None else show(info.default))
        given = f"{name}: {values[name]}" if name in values else f"# {name}: {default}"
        yield f"  {given}  # {info.description}"


def _params(family: str) -> Iterator[str]:
    """Yields all hyperparameters with what is allowed. Those that are not searched are comments."""
    for name, hyper in catalogue(family).items():
        if hyper.description:
            yield f"  # {hyper.description}"
        yield f"  # ({hyper.allowed}; default {show(hyper.default)})"
        yield f"  {name}:{SEARCHED[name]}" if name in SEARCHED else f"  # {name}: {show(hyper.default)}"
