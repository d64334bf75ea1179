"""A run in plain lines."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from fer_tune.data.spec import DataRef
from fer_tune.display.lines import describe
from fer_tune.job import Job
from fer_tune.jobs import Ended

JOB = Job("a", "s", "final", "simple_cnn", {}, 3, 0, DataRef(Path("c"), "d" * 64, Path("s.npz"), "5" * 64), fit="train")


def test_an_accuracy_on_training_images_is_called_so() -> None:
    """A final fit that trains on validation images has no other one."""
    ended = Ended("a", None, "complete", 0.8084, "", epochs=3, seconds=2.0)
    assert "complete at 80.84 %, 3 epochs" in describe(JOB, ended)
    fit = replace(JOB, fit="train+val", objective="train_accuracy")
    assert "complete at 80.84 % in training, 3 epochs" in describe(fit, ended)
