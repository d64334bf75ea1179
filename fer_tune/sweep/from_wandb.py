"""Converts a W&B sweep into one of fer-tune. What has no counterpart becomes a comment."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from fer_tune.errors import SweepError
from fer_tune.sweep.catalogue import Catalogue, catalogue, describe_value
from fer_tune.sweep.error_messages import nearest
from fer_tune.sweep.space import show
from fer_tune.sweep.yaml_nodes import Problems, dump, parse

NAMES = {
    "learning_rate": "lr",
    "learning-rate": "lr",
    "wd": "weight_decay",
    "weight-decay": "weight_decay",
    "bs": "batch_size",
    "batchsize": "batch_size",
    "batch-size": "batch_size",
    "opt": "optimizer",
    "dropout": "head_dropout",
    "dropout_rate": "head_dropout",
    "smoothing": "label_smoothing",
    "scheduler": "schedule",
    "lr_scheduler": "schedule",
    "ema_decay": "ema",
    "clip": "grad_clip",
    "clip_grad": "grad_clip",
    "gradient_clip": "grad_clip",
}
"""What hyperparameters are often called elsewhere, and their names here."""

EPOCHS = ("epochs", "num_epochs", "max_epochs", "n_epochs")
FAMILY = ("family", "model", "architecture", "arch", "network")
SEED = ("seed", "random_seed")
ELSEWHERE = dict.fromkeys(FAMILY, "a sweep has one `family`; write a sweep for each") | dict.fromkeys(
    ("data", "dataset"), "`data` above names the images"
)
"""Parameters that are keys of a sweep and no hyperparameters, and what a comment says of them."""

SAMPLERS = {"bayes": "tpe", "random": "random", "grid": "qmc"}
"""The nearest sampler for each method of W&B."""

SIGMAS = 2
"""A normal distribution becomes a range that reaches so many standard deviations from its mean."""


def convert(text: str, path: Path, family: str) -> str:
    """Returns the text of a sweep of `family` that searches what a W&B sweep searches.

    Raises:
        SweepError: `text` is not a W&B sweep.
    """
    problems = Problems()
    given = parse(text, problems).plain()
    hint = "A W&B sweep is a YAML file with `parameters`."
    if len(problems):
        raise SweepError(f"{path}: this is not a W&B sweep:", hint, tuple(problems))
    if not isinstance(given, dict) or not isinstance(given.get("parameters"), dict):
        raise SweepError(f"{path}: this is not a W&B sweep: it has no mapping `parameters`.", hint)
    known = catalogue(family)
    params = {_line(name): spec for name, spec in given["parameters"].items()}
    lines = [f"# Converted from the W&B sweep {_line(path.name)}.", f"family: {family}"]
    lines += ["data: fer2013  # or demo, or the path of your images"]
    lines += _search(given)
    lines += _budget(given, params)
    lines += [f"seed: {_first(params, SEED)}"] if isinstance(_first(params, SEED), int) else []
    lines += ["params:"]
    for name, spec in params.items():
        nested = isinstance(spec, dict) and isinstance(spec.get("parameters"), dict)
        if nested or name not in (*EPOCHS, *SEED, *ELSEWHERE):
            lines += [f"  {line}" for line in _parameter(name, spec, known)]
        elif name in ELSEWHERE and _first({name: spec}, (name,)) != family:
            lines += [f"  # {name}: {ELSEWHERE[name]}"]
    return "\n".join(lines) + "\n"


def family_of(text: str) -> str | None:
    """Returns the network that a W&B sweep fixes, if that is the name of a family."""
    from fer_tune.models import FAMILIES

    given = parse(text, Problems()).plain()
    params = given.get("parameters") if isinstance(given, dict) else None
    named = _first(params, FAMILY) if isinstance(params, dict) else None
    return named if isinstance(named, str) and named in FAMILIES else None


def _first(params: Mapping[str, Any], names: tuple[str, ...]) -> Any:
    """Returns the fixed or the largest value of the first of these parameters, or None."""
    spec = next((params[name] for name in names if name in params), None)
    if not isinstance(spec, dict):
        return spec
    values = spec.get("values")
    return spec.get("value", spec.get("max", max(values) if isinstance(values, list) and values else None))


def _search(given: Mapping[str, Any]) -> Iterator[str]:
    """Yields the lines for `metric`, `method` and `early_terminate`."""
    metric = given.get("metric") if isinstance(given.get("metric"), dict) else {}
    assert isinstance(metric, dict)
    name = _line(metric.get("name", "val_accuracy"))
    objective = "val_macro_f1" if "f1" in name else "val_balanced_accuracy" if "balanced" in name else "val_accuracy"
    yield f"objective: {objective}" + ("" if name == objective else f"  # W&B's metric was {name}")
    method = str(given.get("method", "bayes"))
    note = "  # W&B's grid has no counterpart; qmc covers the space evenly" if method == "grid" else ""
    yield f"sampler: {SAMPLERS.get(method, 'tpe')}{note}"
    stop = given.get("early_terminate")
    if isinstance(stop, dict):
        options = {"strategy": "promote", "factor": stop.get("eta", 3)}
        if isinstance(stop.get("min_iter"), int):
            options["first"] = stop["min_iter"]
        yield f"search: {_flow(options)}"


def _budget(given: Mapping[str, Any], params: Mapping[str, Any]) -> Iterator[str]:
    epochs = _first(params, EPOCHS)
    budget = {"trials": given.get("run_cap", 50), "epochs": epochs if isinstance(epochs, int) else 20}
    searched = any(isinstance(params.get(name), dict) and "value" not in params[name] for name in EPOCHS)
    yield f"budget: {_flow(budget)}" + ("  # all trials have one length; bad ones stop early" if searched else "")


def _parameter(name: str, spec: Any, known: Catalogue) -> Iterator[str]:
    """Yields the line of one parameter, or a comment that says why there is none."""
    ours = NAMES.get(name.lower(), name)
    if isinstance(spec, dict) and isinstance(spec.get("parameters"), dict):
        yield f"# {name}: it has nested parameters; fer-tune's are flat, with `when`"
        for inner, of_inner in spec["parameters"].items():
            yield from _parameter(_line(inner), of_inner, known)
        return
    if ours not in known:
        yield f"# {name}: fer-tune has no such hyperparameter{nearest(name, known)}"
        return
    written, note = _domain(spec, whole=known[ours].type is int)
    comment = "; ".join(filter(None, (f"W&B's {name}" if name != ours else "", note)))
    yield f"{ours}: {written}" + (f"  # {comment}" if comment else "") if written else f"# {ours}: {note}"


def _domain(spec: Any, whole: bool) -> tuple[str, str]:
    """Returns a parameter as fer-tune writes it, and what changed. Empty if there is no way."""
    if not isinstance(spec, dict):
        return _scalar(spec), ""
    if "value" in spec:
        return _scalar(spec["value"]), ""
    if isinstance(spec.get("values"), list):
        return _flow({"choices": spec["values"]}), "all are as likely" if "probabilities" in spec else ""
    kind = str(spec.get("distribution", "uniform"))
    low, high = spec.get("min"), spec.get("max")
    note = ""
    if "mu" in spec or kind.endswith("normal"):
        mu, sigma = spec.get("mu", 0.0), spec.get("sigma", 1.0)
        low, high = mu - SIGMAS * sigma, mu + SIGMAS * sigma
        note = f"W&B drew from a normal distribution; this range is {SIGMAS} sigma wide on each side"
    if not isinstance(low, int | float) or not isinstance(high, int | float):
        return "", f"W&B's {kind} {describe_value(spec)} has no counterpart"
    log = "log" in kind
    if log and not kind.endswith("values"):  # W&B gives the exponents
        low, high = math.exp(low), math.exp(high)
    found: dict[str, Any] = {name: round(at) if whole else _digits(at) for name, at in (("low", low), ("high", high))}
    if log:
        found["log"] = True
        note = "; ".join(filter(None, (note, "a logarithmic range has no step" if "q" in spec else "")))
    elif isinstance(spec.get("q"), int | float):
        found["step"] = spec["q"]
    return _flow(found), note


def _digits(number: float) -> float:
    """Returns a number with at most six digits that count."""
    return float(f"{number:.6g}")


def _line(text: Any) -> str:
    """Returns a text from the file as a part of one line."""
    return " ".join(str(text).split())


def _flow(plain: Any) -> str:
    return dump(plain, flow=True).strip()


def _scalar(value: Any) -> str:
    return show(value) if isinstance(value, bool | int | float | str) else _flow(value)
