"""Online, offline or disabled: what the user asked for, else what the environment allows."""

from __future__ import annotations

import configparser
import netrc
import os
from typing import Literal, get_args
from urllib.parse import urlsplit

from fer_tune.settings import at_home

Mode = Literal["online", "offline", "disabled"]
MODES: tuple[Mode, ...] = get_args(Mode)


def choose_mode(asked: Mode | None = None) -> Mode:
    """The mode asked for, else WANDB_MODE, else online where a key is configured, else offline."""
    if asked is not None:
        return asked
    for mode in MODES:
        if os.environ.get("WANDB_MODE") == mode:
            return mode
    return "online" if keys() else "offline"


def keys() -> list[str]:
    """wandb's keys on this machine: WANDB_API_KEY, and what netrc holds for wandb's host."""
    found = [os.environ.get("WANDB_API_KEY", "").strip()]
    host = urlsplit(base_url()).hostname or ""
    file = at_home(os.environ.get("NETRC") or "~/.netrc")
    try:
        entry = netrc.netrc(file).authenticators(host)
    except (OSError, netrc.NetrcParseError):
        entry = None
    if entry is not None and entry[2]:
        found.append(entry[2])
    return [key for key in found if key]


def base_url() -> str:
    """wandb's server: WANDB_BASE_URL, else what `wandb login --host` left in wandb's settings, else wandb's own."""
    folder = at_home(os.environ.get("WANDB_CONFIG_DIR") or "~/.config/wandb")
    left = configparser.ConfigParser(interpolation=None)
    try:
        left.read(folder / "settings", encoding="utf-8")
    except (OSError, ValueError, configparser.Error):
        left.clear()
    known = left.get("default", "base_url", fallback="")
    return os.environ.get("WANDB_BASE_URL") or known or "https://api.wandb.ai"
