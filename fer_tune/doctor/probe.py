"""Imports torch and uses each GPU, in a process that a broken driver may crash or hang.

`python -m fer_tune.doctor.probe` prints what it finds as one JSON object.
"""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from dataclasses import dataclass, field
from typing import Any

TIMEOUT = 180.0
"""Seconds for everything. torch alone can need a minute on a cold network disk."""


@dataclass(frozen=True)
class Probed:
    """What the probe found.

    Attributes:
        gpus: one mapping for each GPU: `name`, `total` and `free` bytes, and `error`, empty if it
            computes.
        cuda: the version of CUDA that torch was built for. None for a torch without CUDA.
        error: why torch cannot be used, or empty.
    """

    gpus: list[dict[str, Any]] = field(default_factory=list)
    cuda: str | None = None
    error: str = ""


def probe() -> Probed:
    """Runs the probe, and returns what it found."""
    command = [sys.executable, "-m", "fer_tune.doctor.probe"]
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=TIMEOUT, check=False)
    except subprocess.TimeoutExpired:
        return Probed(error=f"not ready after {TIMEOUT:g} s")
    if done.returncode:
        words = done.stderr.decode(errors="replace").strip().splitlines()
        return Probed(error=words[-1] if words else f"its process ended with {done.returncode}")
    return Probed(**json.loads(done.stdout.splitlines()[-1]))


def main() -> None:
    """Prints what torch and the GPUs are like."""
    torch = importlib.import_module("torch")
    gpus = [_gpu(torch, index) for index in range(torch.cuda.device_count())]
    print(json.dumps({"gpus": gpus, "cuda": torch.version.cuda}))


def _gpu(torch: Any, index: int) -> dict[str, Any]:
    """Multiplies two matrices. Every entry of the product is exact in any precision."""
    answer: dict[str, Any] = {"name": "", "total": 0, "free": 0, "error": ""}
    try:
        answer["name"] = torch.cuda.get_device_name(index)
        answer["free"], answer["total"] = torch.cuda.mem_get_info(index)
        ones = torch.ones(256, 256, device=f"cuda:{index}")
        if not bool((ones @ (2 * ones) == 512).all()):
            answer["error"] = "a product of two matrices is wrong"
    except Exception as error:  # CUDA and its driver raise many types
        answer["error"] = (str(error).strip() or type(error).__name__).splitlines()[0]
    return answer


if __name__ == "__main__":
    main()
