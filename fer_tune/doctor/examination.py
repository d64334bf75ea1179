"""The whole examination."""

from __future__ import annotations

from fer_tune.doctor.environment import absent, environment, module_of, requirements
from fer_tune.doctor.findings import Finding, problem
from fer_tune.doctor.probe import Probed, probe
from fer_tune.settings import Settings


def examine(settings: Settings) -> dict[str, list[Finding]]:
    """All findings, by what was examined: `environment`, `devices`, `storage`, `studies`. Changes nothing.

    Takes some ten seconds, most of them for importing every package in a process of its own.
    """
    stated = requirements()
    modules = [module_of(one.name) for one in stated if not absent(one)]
    probed = probe(modules if "torch" in modules else ["torch", *modules])  # also of a checkout that is not installed
    found = {"environment": list(environment(settings, stated, probed))}
    try:
        return found | _examine(settings, probed)
    except ImportError as error:  # what a look at the rest needs is missing, which stands above
        told = f"cannot be looked at: {error}"
        return found | {"storage": [problem("storage", told, "First mend the packages above.")]}


def _examine(settings: Settings, probed: Probed) -> dict[str, list[Finding]]:
    from fer_tune.doctor import database, devices, files, studies

    known = database.Known()
    return {
        "devices": list(devices.devices(probed)),
        "storage": [*files.folder(settings), *database.database(settings, known), *files.files(settings, known)],
        "studies": list(studies.studies(settings, known)),
    }
