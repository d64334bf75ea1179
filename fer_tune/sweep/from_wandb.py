"""Converts a W&B sweep into one of fer-tune. What has no counterpart becomes a comment."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeGuard

from fer_tune.errors import SweepError
from fer_tune.sweep.catalogue import Catalogue, catalogue
from fer_tune.sweep.error_messages import nearest
from fer_tune.sweep.space import show
from fer_tune.sweep.wandb_words import TOP
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

CONVERTED = ("name", "method", "metric", "early_terminate", "run_cap", "parameters")
"""Keys of a W&B sweep that have a counterpart."""

SAMPLERS = {"bayes": "tpe", "random": "random", "grid": "random"}
"""The nearest sampler for each method of W&B."""

DISTRIBUTIONS = ("uniform", "uniform_values", "normal")
"""How the names of those distributions of W&B end that become a range."""

SIGMAS = 2
"""A normal distribution becomes a range that reaches so many standard deviations from its mean."""

BREAKS = "\\n\\x85\\u2028\\u2029"
"""What ends a line in YAML."""

LARGEST_EXPONENT = 700
"""Of e, for a number that a float can have."""


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
    params = {_line(name): spec for name, spec in given["parameters"].items()}
    lines = [f"# Converted from the W&B sweep {_line(path.name)}."]
    lines += _without_counterpart(given)
    lines += _study(given)
    lines += [f"family: {family}", "data: fer2013  # or demo, or the path of your images"]
    lines += [_objective(given), _sampler(given)]
    lines += _search(given)
    lines += [_budget(given, params)]
    lines += _seed(params)
    lines += ["params:"]
    lines += [f"  {line}" for line in _params(params, family)]
    return "\n".join(lines) + "\n"


def family_of(text: str) -> str | None:
    """Returns the first network that a W&B sweep names, if that is the name of a family."""
    from fer_tune.models import FAMILIES

    given = parse(text, Problems()).plain()
    params = given.get("parameters") if isinstance(given, dict) else None
    named = _listed(params, FAMILY) if isinstance(params, dict) else []
    return next((name for name in named if isinstance(name, str) and name in FAMILIES), None)


def _listed(params: Mapping[str, Any], names: tuple[str, ...]) -> list[Any]:
    """Returns the values that these parameters are fixed to or choose from. A range has none."""
    found: list[Any] = []
    for spec in (params[name] for name in names if name in params):
        if not isinstance(spec, dict):
            found.append(spec)
        elif "value" in spec:
            found.append(spec["value"])
        elif isinstance(spec.get("values"), list):
            found.extend(spec["values"])
    return found


def _without_counterpart(given: Mapping[str, Any]) -> Iterator[str]:
    """Yields comments with the keys of the whole sweep that fer-tune does not have."""
    for key, value in given.items():
        if key not in CONVERTED:
            yield f"# {_line(key)}: {_written(value)} ({TOP.get(key, 'fer-tune has no such key')})"


def _study(given: Mapping[str, Any]) -> Iterator[str]:
    """Yields the line for `name`. The name of a study may have fewer letters than one of W&B."""
    if given.get("name") is None:
        return
    name = _line(given["name"])
    study = re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip(".-")[:64].strip(".-")
    if study:
        yield _noted(f"study: {_flow(study)}", f"W&B's name was {name}" if study != name else "")
    else:
        yield f"# name: {name} (a study cannot be called so)"


def _objective(given: Mapping[str, Any]) -> str:
    """Returns the line for `metric`."""
    metric = given.get("metric")
    metric = metric if isinstance(metric, dict) else {"name": metric}
    name = _line(metric.get("name") or "val_accuracy")
    objective = "val_macro_f1" if "f1" in name else "val_balanced_accuracy" if "balanced" in name else "val_accuracy"
    notes = [f"W&B's metric was {name}"] if name != objective else []
    if str(metric.get("goal")).lower() == "minimize":
        notes += ["W&B minimised it, and fer-tune maximises"]
    notes += [f"W&B's {_line(key)} was {_written(metric[key])}" for key in metric if key not in ("name", "goal")]
    return _noted(f"objective: {objective}", *notes)


def _sampler(given: Mapping[str, Any]) -> str:
    """Returns the line for `method`."""
    method = _line(given.get("method") or "bayes")
    note = "" if method in SAMPLERS else f"W&B's method was {method}, which has no counterpart"
    if method == "grid":
        note = "W&B's grid has no counterpart; random draws from the same values"
    return _noted(f"sampler: {SAMPLERS.get(method, 'tpe')}", note)


def _search(given: Mapping[str, Any]) -> Iterator[str]:
    """Yields the line for `early_terminate`."""
    stop = given.get("early_terminate")
    if stop is None:
        return
    if not isinstance(stop, dict):
        yield f"# early_terminate: {_written(stop)} (it has no counterpart)"
        return
    left = dict(stop)
    if left.get("type") == "hyperband":
        del left["type"]
    options = {"strategy": "promote", "factor": left.pop("eta", 3)}
    if type(left.get("min_iter")) is int:
        options["first"] = left.pop("min_iter")
    yield _noted(f"search: {_flow(options)}", f"W&B also had {_flow(left)}; `rungs` lists epochs" if left else "")


def _budget(given: Mapping[str, Any], params: Mapping[str, Any]) -> str:
    """Returns the line for `run_cap` and the epochs. Trials may be as long as the longest run."""
    specs = [params[name] for name in EPOCHS if name in params and not _nested(params[name])]
    ends = [spec.get("max") for spec in specs if isinstance(spec, dict)]
    lengths = [length for length in [*_listed(params, EPOCHS), *ends] if type(length) is int]
    trials = given.get("run_cap")
    budget = {"trials": 50 if trials is None else trials, "epochs": max(lengths, default=20)}
    note = ""
    if specs and not lengths:
        note = f"W&B's epochs were {_written(specs[0])}"
    elif any(isinstance(spec, dict) and "value" not in spec for spec in specs):
        note = "all trials have one length; bad ones stop early"
    return _noted(f"budget: {_flow(budget)}", note)


def _seed(params: Mapping[str, Any]) -> Iterator[str]:
    """Yields the line for a seed that is fixed, or a comment."""
    names = [name for name in SEED if name in params and not _nested(params[name])]
    seeds = _listed(params, SEED)
    if len(seeds) == len(names) == 1 and type(seeds[0]) is int:
        yield f"seed: {seeds[0]}"
        return
    for name in names:
        why = "a sweep has one seed; `fer-tune confirm` trains the best trials under new ones"
        yield f"# {name}: {_written(params[name])} ({why})"


def _params(params: Mapping[str, Any], family: str) -> Iterator[str]:
    """Yields the lines of all parameters that are not keys of the whole sweep."""
    known = catalogue(family)
    for name, spec in params.items():
        if _nested(spec) or name not in (*EPOCHS, *SEED, *ELSEWHERE):
            yield from _parameter(name, spec, known)
        elif name in ELSEWHERE and _listed(params, (name,)) != [family]:
            yield f"# {name}: {ELSEWHERE[name]}"


def _nested(spec: Any) -> bool:
    """Returns whether a parameter is a mapping of other parameters."""
    return isinstance(spec, dict) and isinstance(spec.get("parameters"), dict)


def _parameter(name: str, spec: Any, known: Catalogue) -> Iterator[str]:
    """Yields the line of one parameter, or a comment that says why there is none."""
    ours = NAMES.get(name.lower(), name)
    if _nested(spec):
        yield f"# {name}: it has nested parameters; fer-tune's are flat, with `when`"
        for inner, of_inner in spec["parameters"].items():
            yield from _parameter(_line(inner), of_inner, known)
        return
    if ours not in known:
        yield f"# {name}: fer-tune has no such hyperparameter{nearest(name, known)}"
        return
    written, note = _domain(spec, whole=known[ours].type is int)
    if written:
        yield _noted(f"{ours}: {written}", f"W&B's {name}" if name != ours else "", note)
    else:
        yield f"# {name}: {note}"


def _domain(spec: Any, whole: bool) -> tuple[str, str]:
    """Returns a parameter as fer-tune writes it, and what changed. Empty if there is no way."""
    if not isinstance(spec, dict) or "value" in spec:
        value = spec["value"] if isinstance(spec, dict) else spec
        return ("", "W&B's value was null, so it has its default") if value is None else (_scalar(value), "")
    if isinstance(spec.get("values"), list):
        return _flow({"choices": spec["values"]}), "all are as likely" if "probabilities" in spec else ""
    kind = _line(spec.get("distribution") or ("normal" if "mu" in spec else "uniform"))
    limits, note = _limits(spec, kind)
    if limits is None:
        return "", note
    found: dict[str, Any] = {
        name: round(at) if whole else _digits(at) for name, at in zip(("low", "high"), limits, strict=True)
    }
    if "log" in kind:
        found["log"] = True
        note = "; ".join(filter(None, (note, "a logarithmic range has no step" if "q" in spec else "")))
    elif _is_number(spec.get("q")):
        found["step"] = spec["q"]
    return _flow(found), note


def _limits(spec: Mapping[str, Any], kind: str) -> tuple[tuple[float, float] | None, str]:
    """Returns the ends of a range and what changed, or None and why there is no range."""
    if not kind.endswith(DISTRIBUTIONS):
        return None, f"fer-tune has no distribution {kind}"
    low, high, note = spec.get("min"), spec.get("max"), ""
    if kind.endswith("normal"):
        mu, sigma = spec.get("mu", 0.0), spec.get("sigma", 1.0)
        if not _is_number(mu) or not _is_number(sigma):
            return None, f"W&B's {kind} needs numbers for mu and sigma"
        low, high = mu - SIGMAS * sigma, mu + SIGMAS * sigma
        note = f"W&B drew from a normal distribution; this range is {SIGMAS} sigma wide on each side"
    if not _is_number(low) or not _is_number(high):
        return None, f"W&B's {kind} needs numbers for min and max"
    if "log" in kind and not kind.endswith("values"):
        return _powers(low, high, kind, note)
    if not math.isfinite(high - low):
        return None, f"the range of W&B's {kind} is too wide"
    return (low, high), note


def _powers(low: float, high: float, kind: str, note: str) -> tuple[tuple[float, float] | None, str]:
    """Returns the ends of a range whose exponents W&B gives, as `_limits` does."""
    if kind.startswith("inv"):  # the exponents of 1 / value
        low, high = -high, -low
    if max(low, high) > LARGEST_EXPONENT:
        instead = "" if kind.endswith("normal") else f"; {kind}_values takes values"
        return None, f"W&B's {kind} takes exponents of e, and e^{show(max(low, high))} is too large{instead}"
    return (math.exp(low), math.exp(high)), note or f"W&B's {kind} had the exponents {show(low)} and {show(high)} of e"


def _is_number(value: Any) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _digits(number: float) -> float:
    """Returns a number with at most six digits that count."""
    return float(f"{number:.6g}")


def _noted(line: str, *notes: str) -> str:
    """Returns a line with a comment of all notes that are not empty."""
    comment = "; ".join(filter(None, notes))
    return f"{line}  # {comment}" if comment else line


def _line(text: Any) -> str:
    """Returns a text from the file as a part of one line. YAML has no control characters."""
    return "".join(letter if letter.isprintable() else "?" for letter in " ".join(str(text).split()))


def _written(value: Any) -> str:
    """Returns a value from the file as a comment shows it."""
    return _line(value) if isinstance(value, str) else _scalar(value)


def _scalar(value: Any) -> str:
    return show(value) if isinstance(value, bool | int | float) else _flow(value)


def _flow(plain: Any) -> str:
    """Returns plain data as YAML on one line. A line break in a text becomes a space."""
    text = dump(plain, flow=True, width=math.inf).removesuffix("...\n")  # the mark behind a lone scalar
    return re.sub(f" *[{BREAKS}][{BREAKS} ]*", " ", text.strip("\n "))
