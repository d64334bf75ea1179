"""What this machine says about wandb: the mode, the server and whether it answers, the keys.

Nothing here imports wandb.
"""

from __future__ import annotations

import configparser
import netrc
import os
import re
import ssl
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Iterable, Iterator
from contextlib import suppress
from http.client import HTTPException
from pathlib import Path
from typing import get_args
from urllib.error import HTTPError, URLError
from urllib.parse import quote, quote_plus, urlsplit
from urllib.request import urlopen

from fer_tune.errors import StorageError
from fer_tune.files import replace_file
from fer_tune.mirror.tracker import Mode
from fer_tune.settings import at_home

MODES: tuple[Mode, ...] = get_args(Mode)


# mode and server -----------------------------------------------------------------------------------------------------


def choose_mode(asked: Mode | None = None) -> Mode:
    """Returns the mode asked for, else WANDB_MODE, else online with a key, else offline."""
    if asked is not None:
        return asked
    for mode in MODES:
        if os.environ.get("WANDB_MODE") == mode:
            return mode
    return "online" if keys() else "offline"


def base_url() -> str:
    """Returns the address of wandb's server.

    That is WANDB_BASE_URL, else what `wandb login --host` wrote into wandb's settings, else wandb's
    own.
    """
    folder = at_home(os.environ.get("WANDB_CONFIG_DIR") or "~/.config/wandb")
    left = configparser.ConfigParser(interpolation=None)
    try:
        left.read(folder / "settings", encoding="utf-8")
    except (OSError, ValueError, configparser.Error):
        left.clear()
    known = left.get("default", "base_url", fallback="")
    return os.environ.get("WANDB_BASE_URL") or known or "https://api.wandb.ai"


def project() -> str:
    """Returns the wandb project of the runs."""
    return os.environ.get("WANDB_PROJECT") or "fer-tune"


def trouble(timeout: float) -> str:
    """Returns why wandb's server cannot be reached, or an empty text. It asks once.

    A server that refuses is reachable. Only one that is absent, silent or broken (5xx) is trouble.
    A certificate that Python does not trust is not trouble either: wandb has its own ways to trust
    one.
    """
    url = base_url()
    try:
        with urlopen(url, timeout=timeout):
            return ""
    except HTTPError as error:
        with error:
            return f"{url} answers {error.code}" if error.code >= 500 else ""
    except URLError as error:
        return "" if isinstance(error.reason, ssl.SSLError) else f"{url} cannot be reached: {error.reason}"
    except (OSError, HTTPException, ValueError) as error:
        return f"{url} cannot be reached: {error or type(error).__name__}"


# keys ----------------------------------------------------------------------------------------------------------------


def keys() -> list[str]:
    """Returns wandb's keys on this machine: WANDB_API_KEY, and what netrc has for wandb's host."""
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


def redact(text: str) -> str:
    """Returns `text` without wandb's keys, in any form in which a server may repeat them."""
    forms = sorted({form for key in keys() for form in _forms(key)}, key=len, reverse=True)
    return re.sub("|".join(map(re.escape, forms)), "***", text, flags=re.IGNORECASE) if forms else text


def clean(logs: Iterable[Path]) -> None:
    """Takes the keys out of logs that nobody writes any more. It leaves a clean file alone."""
    for file in logs:
        with suppress(OSError, StorageError):  # the file was deleted, or the disk is full
            _clean(file)


def _clean(file: Path) -> None:
    text = file.read_bytes().decode(errors="surrogateescape")
    cleaned = redact(text)
    if cleaned != text:
        replace_file(file, lambda stream: stream.write(cleaned.encode(errors="surrogateescape")))


def _forms(key: str) -> Iterator[str]:
    """Yields the key plain and as HTTP's basic authentication has it, each also quoted for a URL.

    The second is base64 in either alphabet.
    """
    pair = f"api:{key}".encode()
    for form in (key, b64encode(pair).decode(), urlsafe_b64encode(pair).decode()):
        for bare in (form, form.rstrip("=")):
            yield from (bare, quote(bare, safe=""), quote_plus(bare))
