"""Searches that take no time: everything is real but the training, which does as its parameters say."""

from __future__ import annotations

from pathlib import Path

import pytest

from fer_tune.data.dataset import Dataset
from fer_tune.data.policy import SplitPolicy
from fer_tune.settings import Settings
from fer_tune.sweep.schema import Budget, PrunerSpec, SamplerSpec, Start, Sweep
from fer_tune.sweep.space import Fixed, Parameter, Range


@pytest.fixture
def searching(settings: Settings, demo: Dataset, tmp_path: Path) -> Settings:
    """Settings under which `fer2013` means the tiny faces."""
    path = tmp_path / "train.csv"
    rows = (
        f"{label},{' '.join(map(str, image.ravel()))}" for image, label in zip(demo.images, demo.labels, strict=True)
    )
    path.write_text("\n".join(["emotion,pixels", *rows]))
    return Settings(settings.root, settings.url, str(path))


def obedient_sweep(trials: int, hours: float | None = None) -> Sweep:
    """Four epochs at `value` and a hundredth more each; what falls below the median is pruned."""
    return Sweep(
        study="obedient",
        family="simple_cnn",
        data="fer2013",
        split=SplitPolicy(),
        objective="val_accuracy",
        sampler=SamplerSpec("random"),
        pruner=PrunerSpec("median", {"n_startup_trials": 1, "n_warmup_steps": 0}),
        budget=Budget(trials=trials, epochs=4, hours=hours),
        seed=1,
        patience=0,
        retries=0,
        space={
            "value": Parameter("value", "value", Range(0.0, 0.9)),
            "seconds": Parameter("seconds", "seconds", Fixed(0.0)),
            "die": Parameter("die", "die", Fixed(0)),
        },
        start=(Start("by hand", {"value": 0.5}), Start(None, {"value": 0.1})),
        path=Path("obedient.yaml"),
    )
