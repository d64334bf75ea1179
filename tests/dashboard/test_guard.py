"""Tests that no page of another host reaches the dashboard, which has no password."""

from __future__ import annotations

from wsgiref.util import setup_testing_defaults

import pytest

from fer_tune import api
from fer_tune.api.for_commands import dashboard_application
from fer_tune.dashboard.server import guarded
from fer_tune.settings import Settings
from tests.studies import make_study

HERE = "127.0.0.1:8080"


def request(method: str, host: str | None, origin: str | None = None, served: str = "127.0.0.1") -> str:
    """Returns the status of the answer to a request with these headers."""
    said: list[str] = []

    def application(environment: object, start: object) -> list[bytes]:
        said.append("200 OK")
        return [b"everything"]

    environment: dict[str, str] = {"REQUEST_METHOD": method, "PATH_INFO": "/api/studies/1"}
    setup_testing_defaults(environment)
    headers = {"HTTP_HOST": host, "HTTP_ORIGIN": origin}
    del environment["HTTP_HOST"]
    environment |= {name: value for name, value in headers.items() if value is not None}
    body = b"".join(guarded(application, served)(environment, lambda status, head: said.append(status)))
    assert (body == b"everything") == (said == ["200 OK"])
    return said[0][:3]


@pytest.mark.parametrize("method", ["GET", "DELETE", "POST"])
@pytest.mark.parametrize("host", [HERE, "localhost:8080", "[::1]:8080", "127.0.0.1"])
def test_its_own_page_reaches_it(method: str, host: str) -> None:
    assert request(method, host) == "200"
    assert request(method, host, f"http://{host}") == "200"


@pytest.mark.parametrize(
    ("host", "origin"),
    [
        ("evil.example:8080", "http://evil.example:8080"),  # DNS rebinding
        ("evil.example:8080", None),
        ("127.0.0.1.evil.example", None),
        ("192.168.0.7:8080", None),
        ("", None),
        (None, None),
        ("[::1", None),
        (HERE, "http://evil.example:8080"),
        (HERE, "null"),
        (HERE, "http://127.0.0.1:9999"),  # another program of this machine
        (HERE, ""),
    ],
)
@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_another_hosts_page_does_not(method: str, host: str | None, origin: str | None) -> None:
    assert request(method, host, origin) == "403"


def test_other_machines_reach_it_by_address_or_by_the_name_that_was_given() -> None:
    assert request("GET", "192.168.0.7:8080", served="0.0.0.0") == "200"
    assert request("GET", "workstation:8080", served="workstation") == "200"
    assert request("GET", "evil.example:8080", served="0.0.0.0") == "403"
    assert request("DELETE", "192.168.0.7:8080", "http://evil.example", served="0.0.0.0") == "403"


def test_the_command_s_application_is_guarded(settings: Settings) -> None:
    make_study(settings, curves=()).close()
    said: list[str] = []
    environment: dict[str, str] = {"REQUEST_METHOD": "DELETE", "PATH_INFO": "/api/studies/1"}
    setup_testing_defaults(environment)
    environment |= {"HTTP_HOST": "evil.example:8080", "HTTP_ORIGIN": "http://evil.example:8080"}
    with dashboard_application() as (application, _):
        application(environment, lambda status, head: said.append(status))
    assert said == ["403 Forbidden"]
    assert [study.name for study in api.studies()] == ["tiny"]
