"""Reads the key `weights` of a sweep: the file that a network of torchvision starts from."""

from __future__ import annotations

from pathlib import Path

from fer_tune.data.spec import DataSpec
from fer_tune.errors import FerTuneError
from fer_tune.models import FAMILIES, start_weights
from fer_tune.sweep.sections import read_images
from fer_tune.sweep.yaml_nodes import Node, Problems


def read_weights(root: Node, folder: Path, problems: Problems) -> bool:
    """Reads `weights`, and gives the family the name that it has with them.

    Returns whether there are weights. Weights of a family that is not valid are not read.
    """
    family, given = root.entries.get("family"), root.entries.get("weights")
    if family is None or not isinstance(family.value, str):
        return False
    if given is None or given.value is None:
        _refuse_missing(root, family, problems)
        return False
    images = read_images(root.entries.get("data"), Problems())
    if not isinstance(given.value, str) or family.value not in FAMILIES or images is None:
        return False
    try:
        FAMILIES[family.value].check(images.side)
        spec = DataSpec(("a", "b"), images.side, images.channels)
        family.value = start_weights.register(family.value, given.value, folder, spec)
    except FerTuneError as error:
        problems.add(given, "weights", f"{error.message} {error.hint}".strip())
        family.value = start_weights.stand_in(family.value)  # so that `frozen` is not a problem too
    return True


def _refuse_missing(root: Node, family: Node, problems: Problems) -> None:
    """Adds weights that a sweep needs and does not name to `problems`."""
    name = str(family.value)
    params = root.entries.get("params")
    frozen = None if params is None else params.entries.get("frozen")
    if not start_weights.is_here(name):
        path = start_weights.copy_of(name)
        problems.add(family, "family", f"its weights are not in this storage folder: {path} is missing")
    elif frozen is not None and name in FAMILIES and start_weights.stand_in(name) != name:
        problems.add(frozen, "params.frozen", "needs `weights: FILE` beside `family`: the weights that are kept")
        family.value = start_weights.stand_in(name)
