"""Reads files of weights that others wrote, without running anything in them."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from fer_tune.errors import TrainingError

INNER = ("state_dict", "model_state_dict", "model")
"""Keys under which scripts of training keep the state dict."""

OUTER = ("module.", "_orig_mod.", "model.", "network.")
"""What DataParallel, torch.compile, scripts of training and fer-tune put in front of all names of a
network's tensors."""

HINT = "It must be a state dict that torch.save or safetensors wrote, or the folder of a trained model."


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Returns the float tensors of a file by name, float32 on the CPU.

    Raises:
        TrainingError: the file is missing or damaged, or has other things than tensors.
    """
    try:
        found = _content(path)
    except OSError as error:
        raise TrainingError(f"{path} cannot be read: {error.strerror or error}.", HINT) from error
    except Exception as error:  # a damaged file raises many kinds
        why = (str(error) or type(error).__name__).splitlines()[0][:200]
        raise TrainingError(f"{path} cannot be read: {why}", HINT) from error
    tensors = {name: value for name, value in found.items() if value.is_floating_point()}
    if not tensors:
        raise TrainingError(f"{path} has no weights.", HINT)
    while outer := next((one for one in OUTER if all(name.startswith(one) for name in tensors)), ""):
        tensors = {name.removeprefix(outer): value for name, value in tensors.items()}
    broken = next((name for name, value in tensors.items() if not bool(value.isfinite().all())), None)
    if broken is not None:
        raise TrainingError(f"{path} has numbers in {broken} that are not finite.", "Take another checkpoint.")
    return {name: value.detach().float() for name, value in tensors.items()}


def digest(tensors: Mapping[str, Tensor]) -> str:
    """Returns the first 16 hex digits of the SHA-256 of tensors, whatever file they were in."""
    found = hashlib.sha256()
    for name in sorted(tensors):
        found.update(f"{name} {list(tensors[name].shape)}\n".encode())
        found.update(tensors[name].contiguous().numpy().data)
    return found.hexdigest()[:16]


def _content(path: Path) -> dict[str, Tensor]:
    with path.open("rb") as stream:
        is_safetensors = stream.read(9)[8:] == b"{"
    if is_safetensors:
        stored: dict[str, Tensor] = load_file(path)
        return stored
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # old files have old kinds of storages
        found: Any = torch.load(path, map_location="cpu", weights_only=True)
    for key in INNER:
        if isinstance(found, Mapping) and isinstance(found.get(key), Mapping):
            found = found[key]
    if not isinstance(found, Mapping) or not all(isinstance(value, Tensor) for value in found.values()):
        raise ValueError(f"it holds {_kind(found)} and not a state dict")
    return {str(name): value for name, value in found.items()}


def _kind(found: Any) -> str:
    if not isinstance(found, Mapping):
        return f"a {type(found).__name__}"
    names = [str(name) for name, value in found.items() if not isinstance(value, Tensor)]
    return f"other things than tensors ({', '.join(names[:3])})"
