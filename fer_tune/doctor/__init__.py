"""The doctor examines the environment, the devices and the storage, and says what to do. It changes
nothing.

findings     what an examination found: ok, a note, or a problem with advice
environment  Python, packages, variables, the key of wandb
devices      cores, memory, driver, GPUs
probe        imports torch and uses the GPUs, in a process of its own
storage      the folder, the database, the artifacts
studies      the images of each study, and trials that were interrupted
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from importlib import import_module

from fer_tune.doctor.findings import Finding, problem
from fer_tune.settings import Settings

__all__ = ["Finding", "examine"]


def examine(settings: Settings) -> dict[str, list[Finding]]:
    """Returns all findings by part: `environment`, `devices`, `storage`, `studies`."""

    def part(name: str, *given: object) -> list[Finding]:
        return survive(name, lambda: getattr(import_module(f"fer_tune.doctor.{name}"), name)(*given))

    found = {"environment": part("environment", settings), "devices": part("devices")}
    return found | {name: part(name, settings) for name in ("storage", "studies")}


def survive(part: str, findings: Callable[[], Iterable[Finding]]) -> list[Finding]:
    """Returns what one part of the examination found.

    An error in it is a problem, and the others continue.
    """
    found: list[Finding] = []
    try:
        found.extend(findings())
    except ImportError as error:
        found.append(problem(part, f"cannot be examined: {error}", "Install the missing packages first."))
    except Exception as error:  # a damaged database may raise anything
        found.append(problem(part, f"cannot be examined: {type(error).__name__}: {error}", "Restore a backup."))
    return found
