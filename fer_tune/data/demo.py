"""Dataset drawn from parameters: a data set that ships as code, for trying the tool without FER2013.

Each face is a set of facial action units (Ekman and Friesen's FACS: brows, lids, nose, mouth corners,
jaw) at the intensities that EMFACS gives for its emotion, on a head with its own proportions, seen under
its own pose, light, blur and noise, sometimes behind hair, glasses or a hand. What makes FER2013 hard
is imitated: its class imbalance (a tenth of its counts), faint expressions that look neutral, labels that
are wrong, photographs that come twice.

    python -m fer_tune.data.demo docs/demo-faces.png     draws the contact sheet

Drawing uses only sums, products, quotients, square roots and comparisons, which every processor rounds
alike (sines and exponentials differ from one to the next): the set has the same signature everywhere.

Coordinates: x to the right, y downwards, the image from -1 to 1; a face fills most of it, as in FER2013.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fer_tune.data.dataset import SIDE, Dataset, Images, Indices
from fer_tune.data.fer2013 import EMOTIONS

VERSION = 1
"""Counts up when the same seed would draw other faces."""

COUNTS = {"angry": 400, "disgust": 44, "fear": 410, "happy": 722, "sad": 483, "surprise": 317, "neutral": 497}
"""Images drawn of each emotion: a tenth of FER2013's training images."""

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

CONFUSED = {
    "angry": "disgust sad neutral fear",
    "disgust": "angry",
    "fear": "surprise sad angry",
    "happy": "neutral surprise",
    "sad": "neutral fear angry",
    "surprise": "fear happy",
    "neutral": "sad angry happy",
}
"""What a wrong label says instead, as people confuse them."""

WRONG_LABELS = 0.05
"""Fraction of labels that are wrong."""

COPIES = 0.02
"""Fraction of images that are drawn a second time, exactly or with other brightness and noise."""

CHUNK = 16
"""Dataset drawn at once: their arrays stay in the processor's cache."""

Array = NDArray[np.floating[Any]]
Parameters = dict[str, Array]
Chunk = Mapping[str, Array]


def demo_faces(seed: int = 0, scale: float = 1.0) -> Dataset:
    """Draws the demo set.

    Args:
        seed: the same seed draws the same images.
        scale: multiplies the number of images; 1 is 2,873 and their copies.
    """
    # RandomState, since NumPy has frozen its stream: the set stays the same from version to version.
    random = np.random.RandomState(seed)
    emotion = np.repeat(np.arange(len(EMOTIONS)), [max(4, round(COUNTS[name] * scale)) for name in EMOTIONS])
    emotion = random.permutation(emotion)
    images = draw(parameters(emotion, random), random)
    labels = _mislabel(emotion, random)
    images, labels = _repeat(images, labels, random)
    names = [f"demo face {index}" for index in range(len(labels))]
    notes = (f"drawn from facial actions with seed {seed}; they are no photographs of people",)
    return Dataset.of(images, labels, names=names, source="demo", notes=notes)


def parameters(emotion: Indices, random: np.random.RandomState) -> Parameters:
    """Draws everything that decides a face: action units, the head's proportions, pose, light, camera, obstacles.

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


def draw(values: Parameters, random: np.random.RandomState) -> Images:
    """Draws faces from their parameters, each float64 [N]; returns uint8 [N, 48, 48]."""
    size = len(values["roll"])
    images = np.empty((size, SIDE, SIDE), np.uint8)
    for start in range(0, size, CHUNK):
        chunk = {name: value[start : start + CHUNK, None, None].astype(np.float32) for name, value in values.items()}
        picture = _photograph(_face(chunk), chunk, random)
        images[start : start + CHUNK] = np.clip(np.rint(picture * 255), 0, 255)
    return images


class _Canvas:
    """A stack of pictures, float32 [n, 48, 48] in 0..1, painted from back to front."""

    def __init__(self, picture: Array) -> None:
        self.picture = picture

    def paint(self, mask: Array, tone: Array | float) -> None:
        """Covers with `tone` where `mask` (0..1) says so."""
        self.picture += np.clip(mask, 0, 1) * (tone - self.picture)

    def shade(self, mask: Array, factor: Array | float) -> None:
        """Multiplies by `factor` where `mask` (0..1) says so: shadows, folds, lips."""
        self.picture *= 1 + np.clip(mask, 0, 1) * (factor - 1)


SOFT = 2.2 / SIDE
"""Width of an edge: about a pixel, so that shapes are smooth."""


def _inside(distance: Array, soft: float = SOFT) -> Array:
    """Mask from a signed distance that is positive inside."""
    return np.asarray(np.clip(0.5 + distance / soft, 0, 1))


def _line(distance: Array, width: Array | float) -> Array:
    """Mask of a soft line along distance 0: exp(-q) for q = (distance / width)², as (1 - q/4)⁴."""
    return np.asarray(np.square(np.square(np.maximum(1 - np.square(distance * (0.5 / width)), 0))))


def _away(x: Array, y: Array) -> Array:
    """Distance from the origin."""
    return np.asarray(np.sqrt(x * x + y * y))


def _waves(phase: Array) -> Array:
    """Ripples between 0 and 1, one for each unit of phase."""
    part = phase - np.floor(phase)
    return np.asarray(4 * part * (1 - part))


def _face(p: Chunk) -> Array:
    """The picture before the camera: background, head, features, obstacles."""
    x, y = _turned(p)
    radius = np.square(x / p["head_width"]) + np.square(y / p["head_height"])
    depth = np.sqrt(np.clip(1 - 0.8 * radius, 0, 1))
    u, v = x - p["yaw"] * depth, y - p["pitch"] * depth  # features ride on a rounded head
    canvas = _Canvas(p["background"] + p["background_slope"] * (x + y))
    head = _head(canvas, p, x, y, depth)
    _brows(canvas, p, u, v)
    _eyes(canvas, p, u, v)
    _nose(canvas, p, u, v)
    _mouth(canvas, p, u, v)
    _obstacles(canvas, p, u, v, head)
    return canvas.picture


def _turned(p: Chunk) -> tuple[Array, Array]:
    """Pixel coordinates in the frame of the head."""
    line = (np.arange(SIDE, dtype=np.float32) + 0.5) / SIDE * 2 - 1
    x, y = line[None, None, :] - p["shift_x"], line[None, :, None] - p["shift_y"]
    cosine, sine = (1 - 0.5 * np.square(p["roll"])) / p["zoom"], p["roll"] / p["zoom"]
    return cosine * x + sine * y, cosine * y - sine * x


def _head(canvas: _Canvas, p: Chunk, x: Array, y: Array, depth: Array) -> Array:
    """Hair behind, neck, the head with its light; returns the head's mask."""
    back = 1 - _away(x / (p["head_width"] + 0.16), (y + 0.12) / 1.02)
    hang = _inside(p["head_width"] + 0.18 - np.abs(x)) * _inside(y + 0.1) * p["hair_long"]
    canvas.paint(np.maximum(_inside(0.7 * back), hang), p["hair_tone"])
    canvas.paint(_inside(0.42 - np.abs(x)) * _inside(y - 0.6), 0.7 * p["skin"])
    length = p["head_height"] + 0.1 * p["jaw"] * (y > 0)
    width = p["head_width"] * (1 - p["jaw_width"] * np.clip(y, 0, 1))
    head = _inside(0.7 * (1 - _away(x / width, y / length)))
    light = 0.72 + 0.3 * depth + p["light_x"] * x / 0.8 + p["light_y"] * y
    canvas.paint(head, p["skin"] * light)
    above = _inside(p["hairline"] + p["fringe"] - 0.25 * np.square(x) - y)
    canvas.paint(above * _inside(0.7 * back), p["hair_tone"])
    return head


def _brows(canvas: _Canvas, p: Chunk, u: Array, v: Array) -> None:
    """A bent stroke above each eye; AU1 lifts its inner end, AU2 the outer, AU4 lowers and draws together."""
    side = 1 + p["asymmetry"] * np.sign(u)
    centre = p["eye_distance"] + 0.03 - 0.06 * p["brow_lower"] - 0.02 * p["inner_brow"]
    along = (np.abs(u) - centre) / 0.25  # -1 at the nose, 1 at the temple
    inner, outer = np.clip(0.5 - 0.5 * along, 0, 1), np.clip(0.5 + 0.5 * along, 0, 1)
    lift = (0.15 * p["inner_brow"] - 0.15 * p["brow_lower"]) * inner + (
        0.13 * p["outer_brow"] + 0.01 * p["brow_lower"]
    ) * outer
    height = p["eye_height"] - p["brow_gap"] - side * lift + p["brow_tilt"] * along
    height = height - p["brow_arch"] * (1 - np.square(along)) + 0.05 * p["nose_wrinkle"]
    thick = p["brow_thick"] * (1 - 0.45 * outer)
    mask = _inside(thick - np.abs(v - height)) * _inside(0.25 * (1 - np.abs(along)))
    canvas.paint(0.9 * mask, p["brow_tone"] * p["skin"])
    frown = p["wrinkles"] * np.clip(p["brow_lower"], 0, 1)
    between = _line(np.abs(u) - 0.05, 0.03) * _line(v - p["eye_height"] + 0.2, 0.11)
    canvas.shade(frown * between, 0.55)
    creases = _waves(9 * v) * _line(v + 0.62, 0.1) * _line(u, 0.35)
    canvas.shade(p["wrinkles"] * np.clip(p["inner_brow"], 0, 1) * creases, 0.82)


def _eyes(canvas: _Canvas, p: Chunk, u: Array, v: Array) -> None:
    """Almonds between two lids; AU5 opens them, AU6 and AU7 push the lower lid up, AU43 lets the upper sink."""
    along = (np.abs(u) - p["eye_distance"]) / p["eye_width"]
    bow = np.clip(1 - np.square(along), 0, None)
    height = v - p["eye_height"] - 0.02 * along * (p["inner_brow"] - p["brow_lower"])
    squint = p["cheek"] * 0.75 + p["lid_tight"] * 0.6 + p["nose_wrinkle"] * 0.4
    upper = p["eye_open"] * np.clip(1 + 0.75 * p["lid_raise"] - 0.75 * p["lid_droop"] - 0.35 * squint, 0.08, 2)
    lower = p["eye_open"] * np.clip(0.75 + 0.2 * p["lid_raise"] - 0.6 * squint, 0.02, 2)
    canvas.shade(_line(_away(along / 1.3, height / 0.16), 1.0), 0.86)  # the socket
    opening = np.minimum(upper * bow + height, lower * bow - height)
    shape = _inside(opening) * _inside(p["eye_width"] * (1 - np.abs(along)))
    canvas.paint(shape, np.clip(0.35 + 0.75 * p["skin"], 0, 0.95))
    iris = _away(np.abs(u) - p["eye_distance"] - 0.06 * p["gaze"] * np.sign(u), height + 0.01)
    canvas.paint(shape * _inside(0.085 - iris), 0.1)
    lash = _line(height + upper * bow, 0.026) * _inside(p["eye_width"] * (1.1 - np.abs(along)))
    canvas.shade(lash, 0.3)
    lid = _line(height - lower * bow, 0.02) * _inside(p["eye_width"] * (1 - np.abs(along)))
    canvas.shade(lid, 0.75)
    bag = _line(height - lower * bow - 0.07, 0.025) * _inside(p["eye_width"] * (1 - np.abs(along)))
    canvas.shade(p["wrinkles"] * np.clip(squint, 0, 1) * bag, 0.65)


def _nose(canvas: _Canvas, p: Chunk, u: Array, v: Array) -> None:
    """A shadow, two nostrils; AU9 lifts them and wrinkles the bridge."""
    wrinkle = np.clip(p["nose_wrinkle"], 0, 1)
    tip = p["nose_length"] - 0.05 * wrinkle - 0.02 * np.clip(p["upper_lip"], 0, 1)
    canvas.shade(_line(u - 0.1, 0.05) * _inside(tip - v, 0.3) * _inside(v + 0.2, 0.3), 0.85)
    canvas.shade(_line(u, 0.05) * _inside(tip - v, 0.2) * _inside(v + 0.25, 0.2), 1.1)
    canvas.shade(_line(_away((np.abs(u) - 0.075) / 1.5, v - tip), 0.035), 0.35)
    canvas.shade(_line(np.abs(u) - 0.15, 0.03) * _line(v - tip + 0.03, 0.05), 0.7)
    ridges = _waves(9.5 * v + 4.8 * np.abs(u)) * _line(v + 0.1, 0.12) * _line(u, 0.16)
    canvas.shade(p["wrinkles"] * wrinkle * ridges, 0.4)
    fold = np.clip(0.15 + p["smile"] * 0.8 + p["upper_lip"] * 0.8 + wrinkle * 0.5, 0, 1) * p["wrinkles"]
    way = (v - tip + 0.05) / (p["mouth_height"] - tip)
    crease = np.abs(u) - 0.17 - (0.17 + 0.06 * p["smile"]) * way
    canvas.shade(fold * _line(crease, 0.03) * _inside(way, 0.2) * _inside(1.1 - way, 0.3), 0.6)


def _mouth(canvas: _Canvas, p: Chunk, u: Array, v: Array) -> None:
    """Two lips along a bent line, and what shows between them."""
    width = p["mouth_width"] * (
        1 + 0.35 * p["smile"] + 0.35 * p["stretch"] - 0.3 * p["jaw"] - 0.15 * p["lip_press"] - 0.1 * p["corner_down"]
    )
    along = u / width
    bow = np.clip(1 - np.square(along), 0, None)
    bend = p["mouth_curve"] + 0.17 * p["corner_down"] - 0.2 * p["smile"] + 0.03 * p["stretch"]
    middle = p["mouth_height"] + 0.06 * p["smile"] - 0.05 * p["chin"] - 0.04 * p["upper_lip"]
    line = middle + bend * np.square(along) + 0.08 * p["asymmetry"] * along
    gap_up = (0.03 * p["part"] + 0.09 * p["jaw"]) * bow + 0.09 * p["upper_lip"] * np.clip(1.2 * bow, 0, 1)
    gap_down = (0.15 * p["part"] * (1 - 0.35 * p["stretch"]) + 0.3 * p["jaw"]) * bow + 0.02 * p["upper_lip"] * bow
    top, bottom = line - gap_up, line + gap_down
    ends = _inside(width * (1 - np.abs(along)))
    thick = p["lip_thick"] * np.clip(1 - 0.75 * p["lip_press"], 0.15, 1) * np.sqrt(bow)
    lips = _inside(np.minimum(v - top + thick, bottom + 1.25 * thick - v)) * ends
    canvas.paint(lips, p["lip_tone"] * p["skin"])
    hole = _inside(np.minimum(v - top, bottom - v)) * ends
    canvas.paint(hole * _inside(0.5 * (gap_up + gap_down) - 0.012, 0.02), 0.06)
    teeth = np.clip(p["teeth"] + 0.8 * p["upper_lip"] + 0.4 * p["stretch"], 0, 1) * (1 - 0.7 * np.clip(p["jaw"], 0, 1))
    canvas.paint(hole * _inside(top + 0.1 - v) * _inside(gap_up + gap_down - 0.05, 0.03) * teeth, 0.9)
    seam = _line(v - line, 0.022) * ends * (1 - _inside(gap_up + gap_down - 0.03, 0.03))
    canvas.shade(seam, 0.35)
    corners = _line(_away(np.abs(along) - 1, (v - line) / 0.05), 0.2)
    canvas.shade(corners * np.clip(p["smile"] + p["corner_down"] + p["lip_press"], 0, 1), 0.6)
    canvas.shade(_line(v - bottom - 1.25 * thick - 0.07, 0.035) * _line(along, 0.6), 0.8)
    boss = _line(_away(u / 1.5, v - p["mouth_height"] - 0.26), 0.1) * _waves(9.5 * v + 5.7 * u)
    canvas.shade(p["wrinkles"] * np.clip(p["chin"], 0, 1) * boss, 0.65)


def _obstacles(canvas: _Canvas, p: Chunk, u: Array, v: Array, head: Array) -> None:
    """Beard, glasses, a hand."""
    beard = head * _inside(_away(u / 1.1, v - 0.25) - 0.42, 0.15) * _inside(v - 0.15, 0.2)
    mouth = _line(_away(u / 0.42, (v - p["mouth_height"]) / 0.16), 1.0)
    canvas.shade(p["beard"] * beard * (1 - mouth), 0.35)
    ring = _away(np.abs(u) - p["eye_distance"], (v - p["eye_height"]) * 1.15) - 0.26
    bridge = _line(v - p["eye_height"] + 0.04, 0.025) * _inside(0.1 - np.abs(u))
    canvas.paint(p["glasses"] * np.maximum(_line(ring, 0.028), bridge), 0.08)
    hand = _inside(0.24 - _away(u - p["hand_x"], 0.8 * (v - p["hand_y"])))
    canvas.paint(p["hand"] * hand, 0.9 * p["skin"] + 0.06 * _waves(6.4 * u))


def _photograph(picture: Array, p: Chunk, random: np.random.RandomState) -> Array:
    """Blur, contrast, brightness and noise."""
    for axis in (1, 2):
        sides = (np.roll(picture, 1, axis) + np.roll(picture, -1, axis)) / 2
        picture = picture + 0.66 * p["blur"] * (sides - picture)
    picture = 0.5 + p["contrast"] * (picture - 0.5) + p["brightness"]
    return np.asarray(picture + p["noise"] * random.normal(size=picture.shape).astype(np.float32))


def _mislabel(emotion: Indices, random: np.random.RandomState) -> Indices:
    """Replaces some labels by one that people confuse with it."""
    labels = emotion.copy()
    for index in np.flatnonzero(random.uniform(size=len(emotion)) < WRONG_LABELS).tolist():
        options = CONFUSED[EMOTIONS[emotion[index]]].split()
        labels[index] = EMOTIONS.index(options[random.randint(len(options))])
    return labels


def _repeat(images: Images, labels: Indices, random: np.random.RandomState) -> tuple[Images, Indices]:
    """Appends copies, half of them exact, half recompressed; a few bear another label than their original."""
    chosen = random.choice(len(labels), round(COPIES * len(labels)), replace=False)
    copies = images[chosen].astype(np.float64)
    near = np.arange(len(chosen)) % 2 == 1
    copies[near] = 0.9 * copies[near] + 10 + random.normal(0, 2, copies[near].shape)
    copied = labels[chosen].copy()
    swapped = random.uniform(size=len(chosen)) < WRONG_LABELS
    copied[swapped] = random.randint(len(EMOTIONS), size=int(swapped.sum()))
    order = random.permutation(len(labels) + len(chosen))
    return (
        np.concatenate([images, np.clip(np.rint(copies), 0, 255).astype(np.uint8)])[order],
        np.concatenate([labels, copied])[order],
    )


def contact_sheet(path: Path, columns: int = 12, rows: int = 1, enlarge: int = 2) -> None:
    """Writes a PNG with `rows` rows of demo faces for each emotion, a name above them."""
    from PIL import Image, ImageDraw

    faces = demo_faces()
    side, title = SIDE * enlarge, 16
    block = title + rows * side
    sheet = Image.new("L", (columns * side, len(EMOTIONS) * block), 255)
    pen = ImageDraw.Draw(sheet)
    for label, name in enumerate(EMOTIONS):
        top = label * block
        pen.text((4, top + 2), name, fill=0)
        for place, index in enumerate(np.flatnonzero(faces.labels == label)[: rows * columns].tolist()):
            tile = Image.fromarray(faces.images[index]).resize((side, side), Image.Resampling.BICUBIC)
            sheet.paste(tile, (place % columns * side, top + title + place // columns * side))
    path.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(path, optimize=True)


if __name__ == "__main__":
    contact_sheet(Path(sys.argv[1] if len(sys.argv) > 1 else "demo-faces.png"))
