"""A model folder without a training."""

from __future__ import annotations

import json
from pathlib import Path

from safetensors.torch import save

from fer_tune.data.spec import DataSpec
from fer_tune.models import FAMILIES
from tests.families import smallest


def untrained(folder: Path, spec: DataSpec) -> Path:
    """Writes a model folder of a small network that was not trained, and returns it."""
    family = FAMILIES["simple_cnn"]
    fields = family.config.model_fields
    shape = family.config(**{name: value for name, value in smallest(family).items() if name in fields})
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.safetensors").write_bytes(save(family.build(shape, spec).state_dict()))
    images = {"height": spec.side, "width": spec.side, "channels": spec.channels, "mean": 0.5, "std": 0.25}
    description = {"format": 2, "family": "simple_cnn", "family_config": shape.model_dump(), "input": images}
    (folder / "config.json").write_text(json.dumps(description | {"classes": list(spec.classes)}))
    return folder
