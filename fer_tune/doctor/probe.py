"""The doctor's probe: imports modules and lets each GPU multiply, one line of JSON for each, in a process of its own.

    python -m fer_tune.doctor.probe torch optuna wandb ...

A library that crashes or hangs while it is imported takes this process with it; the lines say how far it came.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from typing import Any

TIMEOUT = 180.0
"""Seconds for everything; torch alone can take a minute from a cold network disk."""

SIDE = 256


@dataclass(frozen=True)
class Probed:
    """What the probe said.

    Attributes:
        imports: by module, why it cannot be imported; empty where it can.
        gpus: one mapping a GPU: `name`, `total` and `free` bytes, and `error`, empty where it multiplies.
        cuda: version of CUDA that torch was built for; None for a torch without.
    """

    imports: dict[str, str]
    gpus: list[dict[str, Any]]
    cuda: str | None


def probe(modules: list[str]) -> Probed:
    """Runs the probe. A module at which it died, or after which nothing was heard, has that as its reason."""
    try:
        done = subprocess.run(
            [sys.executable, "-m", "fer_tune.doctor.probe", *modules],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=TIMEOUT,
            check=False,
        )
        printed, end = done.stdout, f"the process ended with {done.returncode} meanwhile"
    except subprocess.TimeoutExpired as late:
        printed, end = late.stdout or b"", f"not done within {TIMEOUT:g} s"
    said: list[dict[str, Any]] = []
    for line in printed.splitlines():
        with contextlib.suppress(ValueError):  # a line that was cut
            said.append(json.loads(line))
    imports = {line["module"]: str(line["error"]) for line in said if "module" in line}
    gpus = [line for line in said if "gpu" in line]
    if not any("cuda" in line for line in said):  # it did not come to its end
        left = [module for module in modules if module not in imports]
        if left:
            imports[left[0]] = end
        else:
            gpus.append({"gpu": len(gpus), "name": "", "total": 0, "free": 0, "error": end})
    return Probed(imports, gpus, next((line["cuda"] for line in said if "cuda" in line), None))


def main(modules: list[str]) -> None:
    """Prints a line for each module, for each GPU, and a last one for torch."""
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print while they are imported goes elsewhere

    def say(**line: Any) -> None:
        print(json.dumps(line), file=out, flush=True)

    for module in modules:
        try:
            importlib.import_module(module)
        except BaseException as error:  # a module may call sys.exit
            say(module=module, error=_first_line(error))
        else:
            say(module=module, error="")
    torch = sys.modules.get("torch")
    count = torch.cuda.device_count() if torch is not None else 0
    for index in range(count):
        say(gpu=index, **_gpu(torch, index))
    say(cuda=torch.version.cuda if torch is not None else None)


def _gpu(torch: Any, index: int) -> dict[str, Any]:
    """A product whose every entry must be twice the side: exact in whatever the device multiplies in."""
    answer: dict[str, Any] = {"name": "", "total": 0, "free": 0, "error": ""}
    try:
        answer["name"] = torch.cuda.get_device_name(index)
        answer["free"], answer["total"] = torch.cuda.mem_get_info(index)
        ones = torch.ones(SIDE, SIDE, device=f"cuda:{index}")
        if not bool((ones @ (2 * ones) == 2 * SIDE).all()):
            answer["error"] = "a product of two matrices is wrong"
    except Exception as error:  # whatever CUDA and its driver raise
        answer["error"] = _first_line(error)
    return answer


def _first_line(error: BaseException) -> str:
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__


if __name__ == "__main__":
    main(sys.argv[1:])
