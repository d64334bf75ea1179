"""Python, the packages, the variables, and whether wandb has a key."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, requires, version

from packaging.requirements import Requirement

from fer_tune.doctor.findings import Finding, note, ok, problem
from fer_tune.doctor.probe import Probed
from fer_tune.mirror.wandb_tracker.environment import choose_mode, keys
from fer_tune.settings import Settings, at_home

OLDEST = (3, 11)

OPTIONAL = {"ray": "workers on several machines", "postgres": "PostgreSQL", "parquet": "Parquet", "onnx": "ONNX"}
"""Extras that a user may want, and what for."""

MODULES = {"scikit-learn": "sklearn", "pyyaml": "yaml", "pillow": "PIL", "nvidia-ml-py": "pynvml"}
"""What is imported, where it is not the package's name with an underscore."""


def module_of(package: str) -> str:
    """The module that a package is imported as."""
    return MODULES.get(package, package.replace("-", "_"))


def requirements() -> list[Requirement]:
    """What fer-tune's own metadata requires, the extras of `OPTIONAL` included."""
    try:
        stated = [Requirement(text) for text in requires("fer-tune") or ()]
    except PackageNotFoundError:  # run from a checkout that was never installed
        return []
    return [one for one in stated if one.marker is None or extra_of(one)]


def extra_of(requirement: Requirement) -> str:
    """The extra that it belongs to, or nothing."""
    return next((name for name in OPTIONAL if requirement.marker and requirement.marker.evaluate({"extra": name})), "")


def absent(requirement: Requirement) -> bool:
    """Whether the package is not installed."""
    try:
        version(requirement.name)
    except PackageNotFoundError:
        return True
    return False


def environment(settings: Settings, stated: list[Requirement], probed: Probed) -> Iterator[Finding]:
    """Python, each package, the variables and wandb's key."""
    told = f"{platform.python_version()} ({platform.machine()}, {platform.system()})"
    if sys.version_info < OLDEST:
        yield problem("python", told, f"Install Python {'.'.join(map(str, OLDEST))} or newer.")
    else:
        yield ok("python", told)
    if not stated:
        yield problem("fer-tune", "it is not installed, so its requirements are unknown", "pip install -e .")
    for requirement in stated:
        yield _package(requirement, probed.imports.get(module_of(requirement.name), ""))
    if settings.data_source not in (None, "demo") and not at_home(str(settings.data_source)).exists():
        yield problem(
            "FER_TUNE_DATA", f"names {settings.data_source}, where there is nothing", "Correct or unset the variable."
        )
    yield _wandb_key()


def _package(requirement: Requirement, trouble: str) -> Finding:
    """One package: there, new enough, importable."""
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
    if trouble:
        return problem(name, f"{found}, but it cannot be imported: {trouble}", f"Install it anew: {install}")
    return ok(name, found)


def _wandb_key() -> Finding:
    """Whether there is a key, which is never shown."""
    mode = choose_mode()
    if keys():
        source = "WANDB_API_KEY" if os.environ.get("WANDB_API_KEY", "").strip() else "netrc"
        return ok("wandb key", f"there is one ({source}); runs are mirrored {mode}")
    if mode == "online":
        return problem("wandb key", "none, but WANDB_MODE is online", "`wandb login`, or set WANDB_API_KEY.")
    return note("wandb key", f"none; runs are mirrored {mode}", "`wandb login` mirrors them online, if that is wanted.")
