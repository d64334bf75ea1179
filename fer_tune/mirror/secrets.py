"""wandb's keys, kept out of whatever is written or said."""

from __future__ import annotations

import re
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote, quote_plus

from fer_tune.errors import StorageError
from fer_tune.files import replace_file
from fer_tune.mirror.mode import keys


def redact(text: str) -> str:
    """`text` without any of wandb's keys, in none of the forms in which a server or a library may echo them."""
    forms = sorted({form for key in keys() for form in _forms(key)}, key=len, reverse=True)
    return re.sub("|".join(map(re.escape, forms)), "***", text, flags=re.IGNORECASE) if forms else text


def scrub(wandb: Path, *logs: Path) -> None:
    """Takes the keys out of logs, and out of those that wandb keeps of its online runs, which repeat its server.

    To be called when nobody writes them any more; a clean file is left alone.
    """
    for file in (*logs, *wandb.glob("run-*/logs/*.log")):
        with suppress(OSError, StorageError):  # gone, or on a disk that is full
            _clean(file)


def _clean(file: Path) -> None:
    text = file.read_bytes().decode(errors="surrogateescape")
    clean = redact(text)
    if clean != text:
        replace_file(file, lambda stream: stream.write(clean.encode(errors="surrogateescape")))


def _forms(key: str) -> Iterator[str]:
    """The key plain, as HTTP's basic authentication has it (base64, in either alphabet), and each quoted for a URL."""
    pair = f"api:{key}".encode()
    for form in (key, b64encode(pair).decode(), urlsafe_b64encode(pair).decode()):
        for bare in (form, form.rstrip("=")):
            yield from (bare, quote(bare, safe=""), quote_plus(bare))
