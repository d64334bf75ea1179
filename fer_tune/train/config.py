"""The hyperparameters of training that every family shares, with their bounds and defaults.

They are checked without torch. A sweep can search each of them, by the name of its field.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from fer_tune.data.spec import DataSpec
from fer_tune.errors import TrainingError
from fer_tune.job import Value
from fer_tune.models import FAMILIES, Family, FamilyConfig

POWERS = {"natural": 0.0, "sqrt": 0.5, "inverse": 1.0}
"""Named exponents of the class frequency."""


class TrainConfig(BaseModel):
    """How a network is trained.

    The defaults are a sound start for all families, as measured on FER2013. A description names the
    paper that a hyperparameter comes from.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    optimizer: Literal["sgd", "adam", "adamw", "muon"] = Field(
        "adamw",
        description="sgd: Nesterov; adam: decay in the gradient; adamw: decoupled; muon: orthogonal updates",
    )
    lr: float = Field(1e-3, gt=0, le=10, description="peak learning rate")
    weight_decay: float = Field(1e-4, ge=0, le=1, description="on weights only: biases and norms are not decayed")
    momentum: float = Field(
        0.9, ge=0, lt=1, description="Nesterov momentum of sgd and muon; the first beta of adam and adamw"
    )
    schedule: Literal["constant", "cosine", "onecycle", "step"] = Field(
        "cosine", description="shape of the learning rate after the warm-up"
    )
    warmup: float = Field(0.05, ge=0, le=0.5, description="fraction of all steps in which lr rises linearly from 0")
    batch_size: int = Field(128, ge=8, le=4096)
    label_smoothing: float = Field(0.0, ge=0, le=0.5, description="Szegedy et al. 2016")
    ema: float = Field(0.0, ge=0, lt=1, description="decay of the weights' moving average that is evaluated; 0 is none")
    grad_clip: float = Field(0.0, ge=0, description="largest norm of the whole gradient; 0 does not clip")
    self_distillation: float = Field(
        0.0,
        ge=0,
        le=1,
        description="share of a target that past predictions have in the last epoch, from 0 (Kim et al. 2021)",
    )
    dropout_ramp: Literal["constant", "rising", "falling"] = Field(
        "constant", description="factor on all dropout rates over the epochs: 1, 0 to 1, or 1 to 0"
    )
    augment: float = Field(
        0.0, ge=0, le=1, description="strength of flip, rotation, shift, scale, brightness, contrast and erasing"
    )
    crop: int = Field(
        0, ge=0, le=512, description="side of a random crop that the network sees in training; 0 is the whole image"
    )
    views: int = Field(
        1, ge=1, le=16, description="how many different views of each face are in a batch (Hoffer et al. 2020)"
    )
    mixup: float = Field(
        0.0, ge=0, le=1, description="probability that an image is mixed with another (Zhang et al. 2018)"
    )
    cutmix: float = Field(
        0.0, ge=0, le=1, description="probability that an image gets a patch of another (Yun et al. 2019)"
    )
    sampling: Literal["natural", "weighted", "class_weights"] = Field(
        "natural", description="draw as given, draw with frequency^-power, or weight the loss with frequency^-power"
    )
    sampling_power: float = Field(0.5, ge=0, le=1, description="0 to 1, or by name: sqrt (0.5), inverse (1)")

    @field_validator("sampling_power", mode="before")
    @classmethod
    def _named_power(cls, value: Any) -> Any:
        return POWERS.get(value, value) if isinstance(value, str) else value


def seen(spec: DataSpec, config: TrainConfig) -> DataSpec:
    """Returns what the network sees of images: the whole, or crops of them.

    Raises:
        TrainingError: the crop is not smaller than the image.
    """
    if config.crop >= spec.side:
        raise TrainingError(
            f"crop must be smaller than the images, which have {spec.side} pixels a side (got {config.crop}).",
            "crop: 0 trains on whole images.",
        )
    return replace(spec, side=config.crop or spec.side)


def configurations(name: str, params: dict[str, Value]) -> tuple[Family, FamilyConfig, TrainConfig]:
    """Splits a job's parameters into the family's and the training's.

    Raises:
        TrainingError: the family is unknown, or a parameter is not valid; says which.
    """
    if name not in FAMILIES:
        raise TrainingError(f"Unknown family {name!r}.", f"Known families: {', '.join(FAMILIES)}.")
    family = FAMILIES[name]
    own = {key: value for key, value in params.items() if key in family.config.model_fields}
    shared = {key: value for key, value in params.items() if key not in own}
    try:
        return family, family.config(**own), TrainConfig(**shared)
    except ValidationError as error:
        first = error.errors()[0]
        raise TrainingError(f"{name}: {'.'.join(map(str, first['loc']))}: {first['msg']}.") from error
