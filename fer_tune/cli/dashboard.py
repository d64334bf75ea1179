"""`fer-tune dashboard`: serves optuna-dashboard for a database."""

from __future__ import annotations

import errno
import signal
import socket
import threading
from socketserver import ThreadingMixIn
from typing import TYPE_CHECKING, Annotated, Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import typer

from fer_tune.api.for_commands import dashboard_application
from fer_tune.cli.completion import complete_studies
from fer_tune.cli.options import Storage, StudyName, one_study
from fer_tune.display import terminal
from fer_tune.errors import SettingsError

if TYPE_CHECKING:
    from types import FrameType

LOOPBACK = ("127.0.0.1", "localhost", "::1")


EXAMPLES = ("fer-tune dashboard", "fer-tune dashboard resnet --port 8081")


def dashboard(
    study: Annotated[
        str | None,
        typer.Argument(
            metavar="[STUDY]",
            help="Print the address of this study.",
            autocompletion=complete_studies,
            show_default=False,
        ),
    ] = None,
    named: StudyName = None,
    port: Annotated[int, typer.Option("--port", metavar="N", min=0, max=65535, help="0 takes any free port.")] = 8080,
    host: Annotated[
        str, typer.Option("--host", metavar="ADDRESS", help="Everybody who reaches it can delete trials.")
    ] = "127.0.0.1",
    storage: Storage = None,
) -> None:
    """Serve optuna-dashboard, with notes and learning curves, until Ctrl-C."""
    if not host:
        raise SettingsError(
            "--host must be an address (got an empty text).", "0.0.0.0 is every address of this machine."
        )
    with dashboard_application(one_study(study, named), host=host, storage=storage) as (app, page):
        if host not in LOOPBACK:
            terminal.note(f"Everybody who reaches {host} can read and delete trials: the dashboard has no password.")
        with _server(host, port, app) as server:
            terminal.line(terminal.console(), "http://", f"{host}:{server.server_port}{page}", "  (Ctrl-C ends it)")
            _serve(server)


class _Server(ThreadingMixIn, WSGIServer):
    """Answers each request in a thread. No thread delays the end of the process."""

    daemon_threads = True


class _Silent(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        pass


def _server(host: str, port: int, app: Any) -> WSGIServer:
    try:
        return make_server(host, port, app, server_class=_Server, handler_class=_Silent)
    except OSError as error:
        foreign = isinstance(error, socket.gaierror) or error.errno == errno.EADDRNOTAVAIL
        hint = "--host must be an address of this machine." if foreign else "Try --port 0."
        raise SettingsError(f"The dashboard cannot be served at {host}:{port}: {error.strerror}.", hint) from error
    except (TypeError, ValueError) as error:  # the socket refuses the name
        raise SettingsError(
            f"{host!a} is not a valid host name.", "--host must be an address of this machine."
        ) from error


def _serve(server: WSGIServer) -> None:
    """Serves until Ctrl-C or SIGTERM. Both are the normal end."""

    def end(number: int, frame: FrameType | None) -> None:
        threading.Thread(
            target=server.shutdown, daemon=True
        ).start()  # it waits for the loop that this signal interrupts

    before = {number: signal.signal(number, end) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        server.serve_forever(poll_interval=0.2)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
