"""A network that has only the loopback, for a Ray that nobody else can reach.

Ray binds to the machine's own address, also if it is told 127.0.0.1. Where there is no other
address, it takes that one.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

NEW_NETWORK = 0x40000000
"""`CLONE_NEWNET`."""


@contextmanager
def loopback_only() -> Iterator[str]:
    """Moves this thread, and what it starts, into a network that has only the loopback.

    Yields why that is not possible, or an empty text. Other threads keep their network.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    before = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    try:
        if shutil.which("ip") is None:
            yield "the program ip is missing"
            return
        if libc.unshare(NEW_NETWORK) != 0:
            yield f"a network of its own needs root: {os.strerror(ctypes.get_errno())}"
            return
        try:
            subprocess.run(["ip", "link", "set", "lo", "up"], check=True, capture_output=True)
            yield ""
        finally:
            libc.setns(before, NEW_NETWORK)
    finally:
        os.close(before)
