"""The architecture families. To add one, write its file here and name it in `FAMILIES`."""

from fer_tune.models import deep_cnn, resnet, simple_cnn, vgg
from fer_tune.models.family import Family, FamilyConfig

FAMILIES: dict[str, Family] = {
    family.name: family
    for family in (
        simple_cnn.FAMILY,
        deep_cnn.FAMILY,
        resnet.FAMILY,
        vgg.FAMILY,
    )
}

__all__ = ["FAMILIES", "Family", "FamilyConfig"]
