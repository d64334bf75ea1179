"""The architecture families. To add one, write its file here and name it in `FAMILIES`.

torchvision's networks and the families of plug-ins are in `FAMILIES` too; see `families`.
"""

from fer_tune.models import deep_cnn, resnet, simple_cnn, vgg
from fer_tune.models.families import Families
from fer_tune.models.family import Family, FamilyConfig

FAMILIES = Families(
    (
        simple_cnn.FAMILY,
        deep_cnn.FAMILY,
        resnet.FAMILY,
        vgg.FAMILY,
    )
)

__all__ = ["FAMILIES", "Families", "Family", "FamilyConfig"]
