"""The class names of a study."""

from __future__ import annotations

from fer_tune.data.fer2013 import EMOTIONS
from fer_tune.store import StudyRecord


def class_names(record: StudyRecord) -> tuple[str, ...]:
    """Returns the names of the classes, in the order of the labels."""
    return EMOTIONS
