"""What this machine says about wandb: the mode, the server, the keys."""

from __future__ import annotations

from base64 import b64encode
from pathlib import Path
from urllib.parse import quote

import pytest

from fer_tune.mirror.wandb_tracker.environment import base_url, choose_mode, redact, trouble
from tests.mirror.server import KEY, serving

SILENT = "http://127.0.0.1:9"
"""Nobody listens on the discard port: connections are refused."""


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_API_KEY", KEY)


def test_the_mode_follows_the_key(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("WANDB_API_KEY")
    assert choose_mode() == "offline"
    netrc = tmp_path / "netrc"
    netrc.write_text("machine api.wandb.ai login user password " + "s" * 40)
    monkeypatch.setenv("NETRC", str(netrc))
    assert choose_mode() == "online"
    assert redact("key " + "s" * 40) == "key ***"
    header = b64encode(b"api:" + b"s" * 40).decode()
    for form in (header, header.rstrip("="), quote(header), quote(header).lower()):
        assert redact(f"Basic {form}") == "Basic ***"
    monkeypatch.setenv("WANDB_API_KEY", "local-a/b+c?=" + "s" * 30)
    for form in ("local-a%2Fb%2Bc%3F%3D", "local-a%2fb%2bc%3f%3d"):
        assert redact(f"?key={form}{'s' * 30}&x") == "?key=***&x"
    monkeypatch.setenv("WANDB_MODE", "disabled")
    assert choose_mode() == "disabled"
    assert choose_mode("offline") == "offline"


def test_the_server_is_found_where_wandb_login_left_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert base_url() == "https://api.wandb.ai"
    monkeypatch.setenv("WANDB_CONFIG_DIR", str(tmp_path))
    (tmp_path / "settings").write_text("[default]\nbase_url = https://wandb.example\n")
    assert base_url() == "https://wandb.example"
    monkeypatch.setenv("WANDB_BASE_URL", SILENT)
    assert base_url() == SILENT
    assert "cannot be reached" in trouble(3.0)


def test_a_server_that_refuses_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving() as server:
        monkeypatch.setenv("WANDB_BASE_URL", server.url)
        assert trouble(3.0) == ""
        server.mood = "500"
        assert "answers 500" in trouble(3.0)
        server.mood = "hang"
        assert "cannot be reached" in trouble(0.2)
