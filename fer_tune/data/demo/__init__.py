"""A data set that ships as code, for trying fer-tune without FER2013: faces drawn from parameters.

    actions   the facial actions of each emotion, and the parameters of a face
    canvas    shapes and shades on a stack of pictures
    face      draws a head and its features from the parameters
    __main__  draws a contact sheet: `python -m fer_tune.data.demo docs/demo-faces.png`

What makes FER2013 hard is imitated: unequal classes (a tenth of its counts), faint expressions that
look neutral, wrong labels, photographs that come twice.

Drawing uses only sums, products, quotients, square roots and comparisons, which every processor
rounds alike; sines and exponentials differ. So the data set has the same signature everywhere.
"""

from __future__ import annotations

import numpy as np

from fer_tune.data.dataset import Dataset, Images, Indices
from fer_tune.data.demo.actions import parameters
from fer_tune.data.demo.face import draw
from fer_tune.data.fer2013 import EMOTIONS

VERSION = 1
"""Counts up when the same seed would draw other faces."""

COUNTS = {"angry": 400, "disgust": 44, "fear": 410, "happy": 722, "sad": 483, "surprise": 317, "neutral": 497}
"""Images drawn of each emotion: a tenth of FER2013's training images."""

CONFUSED = {
    "angry": "disgust sad neutral fear",
    "disgust": "angry",
    "fear": "surprise sad angry",
    "happy": "neutral surprise",
    "sad": "neutral fear angry",
    "surprise": "fear happy",
    "neutral": "sad angry happy",
}
"""The emotions that people mistake each one for: its wrong labels."""

WRONG_LABELS = 0.05
"""Fraction of labels that are wrong."""

COPIES = 0.02
"""Fraction of images that are drawn a second time, exactly or with other brightness and noise."""


def demo_faces(seed: int = 0, scale: float = 1.0) -> Dataset:
    """Draws the demo set.

    Args:
        seed: the same seed draws the same images.
        scale: multiplies the number of images; 1 gives 2,873 and their copies.
    """
    # RandomState, since NumPy has frozen its stream: the set stays the same from version to
    # version.
    random = np.random.RandomState(seed)
    emotion = np.repeat(np.arange(len(EMOTIONS)), [max(4, round(COUNTS[name] * scale)) for name in EMOTIONS])
    emotion = random.permutation(emotion)
    images = draw(parameters(emotion, random), random)
    labels = mislabelled(emotion, random)
    images, labels = with_copies(images, labels, random)
    names = [f"demo face {index}" for index in range(len(labels))]
    notes = (f"drawn from facial actions with seed {seed}; they are not photographs of people",)
    return Dataset.of(images, labels, names=names, source="demo", notes=notes)


def mislabelled(emotion: Indices, random: np.random.RandomState) -> Indices:
    """Returns the labels, some of them replaced by one that people confuse with it."""
    labels = emotion.copy()
    for index in np.flatnonzero(random.uniform(size=len(emotion)) < WRONG_LABELS).tolist():
        options = CONFUSED[EMOTIONS[emotion[index]]].split()
        labels[index] = EMOTIONS.index(options[random.randint(len(options))])
    return labels


def with_copies(images: Images, labels: Indices, random: np.random.RandomState) -> tuple[Images, Indices]:
    """Adds copies, half of them exact, half recompressed; a few have another label."""
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
