"""Reads the key `weights` of a sweep: the file that a network of torchvision starts from."""

from __future__ import annotations

from pathlib import Path

from fer_tune.data.spec import DataSpec
from fer_tune.errors import FerTuneError, TrainingError
from fer_tune.models import FAMILIES, start_weights
from fer_tune.models.torchvision_network import PREFIX
from fer_tune.sweep.schema import Images
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
        if not start_weights.is_here(family.value):
            path = start_weights.copy_of(family.value)
            problems.add(family, "family", f"its weights are not in this storage folder: {path} is missing")
        return False
    images = read_images(root.entries.get("data"), Problems())
    if not isinstance(given.value, str) or family.value not in FAMILIES or images is None:
        return False
    try:
        family.value = _with_weights(family.value, given.value, folder, images)
    except FerTuneError as error:
        problems.add(given, "weights", f"{error.message} {error.hint}".strip())
    return True


def _with_weights(family: str, weights: str, folder: Path, images: Images) -> str:
    """Returns the name of a family with weights.

    Raises:
        TrainingError: the family takes none, or the weights cannot be read or do not fit.
    """
    if not family.startswith(PREFIX):
        raise TrainingError(f"only torchvision's networks start from weights, not {family.partition('@')[0]}")
    if start_weights.NAMED.fullmatch(family):
        raise TrainingError(f"the family {family} has weights already: leave out the part after @")
    FAMILIES[family].check(images.side)
    return start_weights.register(family, weights, folder, DataSpec(("a", "b"), images.side, images.channels))
