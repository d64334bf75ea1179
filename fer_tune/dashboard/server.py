"""optuna-dashboard on the configured database, with the pictures of trials.

It has no password and can delete studies. So a web page of another host must not reach it: neither
by a request of its own, nor under a host name that it lets point to this machine (DNS rebinding).
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

from optuna.artifacts import FileSystemArtifactStore

from fer_tune.errors import StudyError
from fer_tune.settings import Settings
from fer_tune.store import Store
from fer_tune.study.storage import optuna_storage

Application = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]

LOOPBACK = ("127.0.0.1", "localhost", "::1")
"""Names of this machine that no other host can have."""


def guarded(application: Application, host: str) -> Application:
    """Returns the application behind a check of the headers Host and Origin.

    Args:
        host: the address that the server listens on. If other machines reach it, their users type
            names that are not known here. Then only names that are addresses, and `host`, pass.
    """

    def guard(environment: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        asked, origin = environment.get("HTTP_HOST", ""), environment.get("HTTP_ORIGIN")
        if not _is_ours(asked, host) or (origin is not None and origin not in (f"http://{asked}", f"https://{asked}")):
            start("403 Forbidden", [("Content-Type", "text/plain; charset=utf-8")])
            return [b"This dashboard answers only under the address that `fer-tune dashboard` printed.\n"]
        return application(environment, start)

    return guard


def _is_ours(header: str, host: str) -> bool:
    """Returns whether a Host header names the server."""
    try:
        name = urlsplit(f"//{header}").hostname or ""
    except ValueError:
        return False
    if host in LOOPBACK:
        return name in LOOPBACK
    return name in (*LOOPBACK, host.lower()) or _is_address(name)


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def application(store: Store, settings: Settings) -> Any:
    """Returns the dashboard as a WSGI application."""
    from optuna_dashboard import wsgi

    with suppress(OSError):  # a folder that cannot be written is still shown
        settings.pictures.mkdir(parents=True, exist_ok=True)
    return wsgi(optuna_storage(store), artifact_store=FileSystemArtifactStore(settings.pictures))


def study_id(store: Store, study: str) -> int:
    """Returns the number of a study in the addresses of the dashboard.

    Raises:
        StudyError: the study does not exist, or its trials were deleted.
    """
    try:
        return optuna_storage(store).get_study_id_from_name(store.studies.get(study).name)
    except KeyError as error:
        hint = "Somebody deleted them. `fer-tune studies` lists the studies."
        raise StudyError(f"The trials of the study {study} are not in {store.shown}.", hint) from error
