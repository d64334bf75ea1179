"""The facial actions of each emotion, and the parameters of a face.

Actions are the units of Ekman and Friesen's FACS (brows, lids, nose, mouth corners, jaw), at the
intensities that EMFACS gives for each emotion. Every face has its own proportions, pose, light,
blur and noise, and sometimes hair, glasses or a hand in front.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fer_tune.data.dataset import Indices
from fer_tune.data.fer2013 import EMOTIONS

Array = NDArray[np.floating[Any]]
Parameters = dict[str, Array]
"""float64 [N] by name."""

ACTIONS: Mapping[str, Mapping[str, float]] = {
    "angry": {"brow_lower": 1.0, "lid_raise": 0.35, "lid_tight": 0.5, "lip_press": 0.8, "corner_down": 0.25},
    "disgust": {"nose_wrinkle": 1.0, "upper_lip": 1.0, "brow_lower": 0.45, "lid_tight": 0.9, "corner_down": 0.35},
    "fear": {"inner_brow": 0.9, "outer_brow": 0.5, "brow_lower": 0.25, "lid_raise": 0.9, "stretch": 1.0, "part": 0.5},
    "happy": {"cheek": 0.8, "smile": 1.0, "part": 0.5, "teeth": 1.0},
    "sad": {"inner_brow": 1.0, "outer_brow": -0.35, "lid_droop": 0.8, "corner_down": 1.0, "chin": 0.7},
    "surprise": {"inner_brow": 0.9, "outer_brow": 1.0, "lid_raise": 0.8, "jaw": 1.0},
    "neutral": {},
}
"""Action units of each emotion at full intensity, after EMFACS; see `UNITS` for the codes."""

UNITS = {
    "inner_brow": "AU1 inner brow raiser",
    "outer_brow": "AU2 outer brow raiser",
    "brow_lower": "AU4 brow lowerer",
    "lid_raise": "AU5 upper lid raiser",
    "cheek": "AU6 cheek raiser",
    "lid_tight": "AU7 lid tightener",
    "nose_wrinkle": "AU9 nose wrinkler",
    "upper_lip": "AU10 upper lip raiser",
    "smile": "AU12 lip corner puller",
    "corner_down": "AU15 lip corner depressor",
    "chin": "AU17 chin raiser",
    "stretch": "AU20 lip stretcher",
    "lip_press": "AU24 lip pressor",
    "part": "AU25 lips part",
    "jaw": "AU27 mouth stretch",
    "lid_droop": "AU43 eyes closing",
    "teeth": "how much of the upper teeth shows when the lips part",
}
"""The action units that are drawn, with their FACS code."""


def parameters(emotion: Indices, random: np.random.RandomState) -> Parameters:
    """Draws all that decides a face: actions, proportions, pose, light, camera, obstacles.

    Args:
        emotion: int64 [N], positions in `EMOTIONS`.
        random: where the numbers come from.

    Returns:
        float64 [N] by name.
    """
    size = len(emotion)

    def uniform(low: float, high: float) -> Array:
        return random.uniform(low, high, size)

    def normal(deviation: float) -> Array:
        return np.clip(random.normal(0, deviation, size), -2.5 * deviation, 2.5 * deviation)

    def chance(probability: float) -> Array:
        return (random.uniform(size=size) < probability).astype(np.float64)

    intensity = uniform(0.5, 1.15)
    values: Parameters = {}
    for unit in UNITS:
        level = np.array([ACTIONS[name].get(unit, 0.0) for name in EMOTIONS])[emotion]
        values[unit] = level * np.clip(intensity + normal(0.12), 0.2, 1.2) + np.abs(normal(0.05))
    # people smile with closed lips, shout in anger, and keep their mouths shut in fear
    values["part"] *= 1 - 0.9 * chance(0.3)
    shout = chance(0.25) * (emotion == EMOTIONS.index("angry")) * intensity
    values["part"] += 0.8 * shout
    values["teeth"] += shout
    values["lip_press"] *= 1 - np.minimum(shout, 1)
    values |= {
        "asymmetry": normal(0.12),
        "gaze": normal(0.25),
        # proportions
        "head_width": 0.74 + normal(0.05),
        "head_height": 0.98 + normal(0.05),
        "jaw_width": 0.28 + normal(0.08),
        "eye_distance": 0.345 + normal(0.02),
        "eye_width": 0.195 + normal(0.015),
        "eye_open": 0.088 + normal(0.012),
        "eye_height": -0.2 + normal(0.03),
        "brow_gap": 0.19 + normal(0.025),
        "brow_thick": 0.045 + np.abs(normal(0.016)),
        "brow_arch": 0.045 + normal(0.02),
        "brow_tilt": normal(0.025),
        "brow_tone": uniform(0.08, 0.5),
        "nose_length": 0.2 + normal(0.03),
        "mouth_height": 0.52 + normal(0.035),
        "mouth_width": 0.29 + normal(0.03),
        "lip_thick": 0.055 + normal(0.016),
        "lip_tone": uniform(0.45, 0.85),
        "mouth_curve": normal(0.02),
        # pose
        "roll": normal(0.1),
        "yaw": normal(0.11),
        "pitch": normal(0.06),
        "zoom": 1.0 + normal(0.05),
        "shift_x": normal(0.04),
        "shift_y": normal(0.04),
        # light and camera
        "skin": uniform(0.4, 0.85),
        "light_x": normal(0.22),
        "light_y": normal(0.15),
        "background": uniform(0.05, 0.9),
        "background_slope": normal(0.2),
        "contrast": uniform(0.65, 1.1),
        "brightness": normal(0.07),
        "blur": np.maximum(0, uniform(-0.5, 1.0)),
        "noise": uniform(0.005, 0.035),
        # what else is in the picture
        "hair_tone": uniform(0.03, 0.6),
        "hairline": -0.68 + normal(0.07) - 0.6 * chance(0.1),
        "fringe": chance(0.12) * uniform(0.1, 0.3),
        "hair_long": chance(0.4),
        "beard": chance(0.18) * uniform(0.3, 0.8),
        "glasses": chance(0.15) * uniform(0.5, 1.0),
        "hand": chance(0.08),
        "hand_x": uniform(-0.7, 0.7),
        "hand_y": uniform(0.3, 0.9),
        "wrinkles": uniform(0.4, 1.1),
    }
    return values
