"""Whether wandb's server can be reached: asked before wandb is, which would be long about it."""

from __future__ import annotations

import ssl
from http.client import HTTPException
from urllib.error import HTTPError, URLError
from urllib.request import urlopen

from fer_tune.mirror.mode import base_url

TIMEOUT = 3.0
"""Seconds to answer in."""


def trouble(timeout: float = TIMEOUT) -> str:
    """What is wrong with the way to wandb's server, or an empty text; asks once, as the system's proxies say.

    An answer that refuses is an answer: only a server that is not there, silent, or broken (5xx) is trouble. So is no
    certificate that Python does not trust: wandb has its own ways to trust one.
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
