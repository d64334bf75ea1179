"""Examines Python, the packages, the variables, and the key of wandb."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, requires, version

from packaging.requirements import Requirement

from fer_tune.doctor.findings import Finding, note, ok, problem
from fer_tune.mirror.wandb_tracker.environment import choose_mode, keys
from fer_tune.settings import Settings, at_home

OPTIONAL = {"postgres": "PostgreSQL", "parquet": "Parquet", "ray": "the engine ray"}
"""Extras, and what each is for."""


def requirements() -> list[Requirement]:
    """Returns what fer-tune requires, with the extras of `OPTIONAL`; nothing if not installed."""
    try:
        stated = [Requirement(text) for text in requires("fer-tune") or ()]
    except PackageNotFoundError:
        return []
    return [one for one in stated if one.marker is None or extra_of(one)]


def extra_of(requirement: Requirement) -> str:
    """Returns the extra that needs a requirement, or an empty text."""
    return next((name for name in OPTIONAL if requirement.marker and requirement.marker.evaluate({"extra": name})), "")


def environment(settings: Settings, stated: list[Requirement] | None = None) -> Iterator[Finding]:
    """Examines Python, each package, the variables, and the key of wandb."""
    stated = requirements() if stated is None else stated
    yield ok("python", f"{platform.python_version()} ({platform.machine()}, {platform.system()})")
    if not stated:
        yield problem("fer-tune", "is not installed, so its requirements are unknown", "pip install -e .")
    yield from map(_package, stated)
    if (source := str(settings.data_source or "demo")) != "demo" and not at_home(source).exists():
        yield problem("FER_TUNE_DATA", f"names {source}, which does not exist", "Correct or unset the variable.")
    yield _wandb_key()


def _package(requirement: Requirement) -> Finding:
    """Examines whether a package is installed and new enough."""
    name, extra = requirement.name, extra_of(requirement)
    install = f"pip install 'fer-tune[{extra}]'" if extra else f"pip install '{name}{requirement.specifier}'"
    try:
        found = version(name)
    except PackageNotFoundError:
        if extra:
            return note(name, f"not installed; {OPTIONAL[extra]} needs it", install)
        return problem(name, "not installed", install)
    if not requirement.specifier.contains(found, prereleases=True):
        return problem(name, f"{found}, but {requirement.specifier} is needed", install)
    return ok(name, found)


def _wandb_key() -> Finding:
    """Examines whether there is a key. The key is never shown."""
    mode = choose_mode()
    if keys():
        source = "WANDB_API_KEY" if os.environ.get("WANDB_API_KEY", "").strip() else "netrc"
        return ok("wandb key", f"found in {source}; runs are mirrored {mode}")
    if mode == "online":
        return problem("wandb key", "missing, but WANDB_MODE is online", "`wandb login`, or set WANDB_API_KEY.")
    return note("wandb key", f"none; runs are mirrored {mode}", "After `wandb login` runs are mirrored online.")
