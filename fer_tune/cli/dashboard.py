"""`fer-tune dashboard`: optuna-dashboard on the configured database."""

from __future__ import annotations

import errno
import signal
import socket
import threading
from socketserver import ThreadingMixIn
from typing import TYPE_CHECKING, Annotated, Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import typer

from fer_tune.cli.options import Storage, open_store
from fer_tune.display import terminal
from fer_tune.errors import SettingsError
from fer_tune.settings import Settings

if TYPE_CHECKING:
    from types import FrameType

LOOPBACK = ("127.0.0.1", "localhost", "::1")


def dashboard(
    study: Annotated[
        str | None, typer.Option("--study", metavar="NAME", help="Print the address of this study.", show_default=False)
    ] = None,
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="0: any that is free.")] = 8080,
    host: Annotated[str, typer.Option("--host", help="Who reaches the dashboard can delete trials.")] = "127.0.0.1",
    storage: Storage = None,
) -> None:
    """Serve optuna-dashboard, with notes and learning curves, until Ctrl-C."""
    if not host:
        raise SettingsError("--host is empty.", "0.0.0.0 is every address of this machine.")
    with open_store(storage) as store:
        from fer_tune.dashboard.server import application, study_id

        page = "/dashboard" if study is None else f"/dashboard/studies/{study_id(store, study)}"
        app = application(store, Settings.from_environment(storage))
        if host not in LOOPBACK:
            terminal.note(f"Whoever reaches {host} can read and delete trials: the dashboard asks for no password.")
        with _server(host, port, app) as server:
            terminal.line(terminal.console(), "http://", f"{host}:{server.server_port}{page}", "  (Ctrl-C ends it)")
            _serve(server)


class _Server(ThreadingMixIn, WSGIServer):
    """Answers each request in a thread, none of which holds up the end."""

    daemon_threads = True


class _Silent(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        pass


def _server(host: str, port: int, app: Any) -> WSGIServer:
    try:
        return make_server(host, port, app, server_class=_Server, handler_class=_Silent)
    except OSError as error:
        foreign = isinstance(error, socket.gaierror) or error.errno == errno.EADDRNOTAVAIL
        hint = "--host is an address of this machine." if foreign else "Try --port 0."
        raise SettingsError(f"{host}:{port} cannot be served: {error.strerror}.", hint) from error
    except (TypeError, ValueError) as error:  # what the socket raises where a name cannot be one
        raise SettingsError(f"{host!a} is no host's name.", "--host is an address of this machine.") from error


def _serve(server: WSGIServer) -> None:
    """Serves until Ctrl-C or SIGTERM, which are the normal end."""

    def end(number: int, frame: FrameType | None) -> None:
        threading.Thread(target=server.shutdown, daemon=True).start()  # waits for the loop that this interrupts

    before = {number: signal.signal(number, end) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        server.serve_forever(poll_interval=0.2)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
