"""Draws faces from their parameters: head, features, obstacles, camera.

A face fills most of the picture, as in FER2013.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from fer_tune.data.dataset import Images
from fer_tune.data.demo.actions import Array, Parameters
from fer_tune.data.demo.canvas import Canvas, away, inside, line, waves
from fer_tune.data.fer2013 import SIDE

Chunk = Mapping[str, Array]

CHUNK = 16
"""Faces drawn at once. Their arrays stay in the processor's cache."""


def draw(values: Parameters, random: np.random.RandomState) -> Images:
    """Draws faces from their parameters, each float64 [N]; returns uint8 [N, 48, 48]."""
    size = len(values["roll"])
    images = np.empty((size, SIDE, SIDE), np.uint8)
    for start in range(0, size, CHUNK):
        chunk = {name: value[start : start + CHUNK, None, None].astype(np.float32) for name, value in values.items()}
        picture = _photograph(_face(chunk), chunk, random)
        images[start : start + CHUNK] = np.clip(np.rint(picture * 255), 0, 255)
    return images


def _face(p: Chunk) -> Array:
    """Returns the picture in front of the camera."""
    x, y = _turned(p)
    radius = np.square(x / p["head_width"]) + np.square(y / p["head_height"])
    depth = np.sqrt(np.clip(1 - 0.8 * radius, 0, 1))
    u, v = x - p["yaw"] * depth, y - p["pitch"] * depth  # features ride on a rounded head
    canvas = Canvas(p["background"] + p["background_slope"] * (x + y))
    head = _head(canvas, p, x, y, depth)
    _brows(canvas, p, u, v)
    _eyes(canvas, p, u, v)
    _nose(canvas, p, u, v)
    _mouth(canvas, p, u, v)
    _obstacles(canvas, p, u, v, head)
    return canvas.picture


def _turned(p: Chunk) -> tuple[Array, Array]:
    """Returns pixel coordinates in the frame of the head."""
    places = (np.arange(SIDE, dtype=np.float32) + 0.5) / SIDE * 2 - 1
    x, y = places[None, None, :] - p["shift_x"], places[None, :, None] - p["shift_y"]
    cosine, sine = (1 - 0.5 * np.square(p["roll"])) / p["zoom"], p["roll"] / p["zoom"]
    return cosine * x + sine * y, cosine * y - sine * x


def _head(canvas: Canvas, p: Chunk, x: Array, y: Array, depth: Array) -> Array:
    """Paints hair, neck and head with its light. Returns the head's mask."""
    back = 1 - away(x / (p["head_width"] + 0.16), (y + 0.12) / 1.02)
    hang = inside(p["head_width"] + 0.18 - np.abs(x)) * inside(y + 0.1) * p["hair_long"]
    canvas.paint(np.maximum(inside(0.7 * back), hang), p["hair_tone"])
    canvas.paint(inside(0.42 - np.abs(x)) * inside(y - 0.6), 0.7 * p["skin"])
    length = p["head_height"] + 0.1 * p["jaw"] * (y > 0)
    width = p["head_width"] * (1 - p["jaw_width"] * np.clip(y, 0, 1))
    head = inside(0.7 * (1 - away(x / width, y / length)))
    light = 0.72 + 0.3 * depth + p["light_x"] * x / 0.8 + p["light_y"] * y
    canvas.paint(head, p["skin"] * light)
    above = inside(p["hairline"] + p["fringe"] - 0.25 * np.square(x) - y)
    canvas.paint(above * inside(0.7 * back), p["hair_tone"])
    return head


def _brows(canvas: Canvas, p: Chunk, u: Array, v: Array) -> None:
    """Paints a bent stroke above each eye.

    AU1 lifts its inner end, AU2 the outer one; AU4 lowers both and draws them together.
    """
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
    mask = inside(thick - np.abs(v - height)) * inside(0.25 * (1 - np.abs(along)))
    canvas.paint(0.9 * mask, p["brow_tone"] * p["skin"])
    frown = p["wrinkles"] * np.clip(p["brow_lower"], 0, 1)
    between = line(np.abs(u) - 0.05, 0.03) * line(v - p["eye_height"] + 0.2, 0.11)
    canvas.shade(frown * between, 0.55)
    creases = waves(9 * v) * line(v + 0.62, 0.1) * line(u, 0.35)
    canvas.shade(p["wrinkles"] * np.clip(p["inner_brow"], 0, 1) * creases, 0.82)


def _eyes(canvas: Canvas, p: Chunk, u: Array, v: Array) -> None:
    """Paints almonds between two lids.

    AU5 opens them, AU6 and AU7 push the lower lid up, AU43 lets the upper one sink.
    """
    along = (np.abs(u) - p["eye_distance"]) / p["eye_width"]
    bow = np.clip(1 - np.square(along), 0, None)
    height = v - p["eye_height"] - 0.02 * along * (p["inner_brow"] - p["brow_lower"])
    squint = p["cheek"] * 0.75 + p["lid_tight"] * 0.6 + p["nose_wrinkle"] * 0.4
    upper = p["eye_open"] * np.clip(1 + 0.75 * p["lid_raise"] - 0.75 * p["lid_droop"] - 0.35 * squint, 0.08, 2)
    lower = p["eye_open"] * np.clip(0.75 + 0.2 * p["lid_raise"] - 0.6 * squint, 0.02, 2)
    canvas.shade(line(away(along / 1.3, height / 0.16), 1.0), 0.86)  # the socket
    opening = np.minimum(upper * bow + height, lower * bow - height)
    shape = inside(opening) * inside(p["eye_width"] * (1 - np.abs(along)))
    canvas.paint(shape, np.clip(0.35 + 0.75 * p["skin"], 0, 0.95))
    iris = away(np.abs(u) - p["eye_distance"] - 0.06 * p["gaze"] * np.sign(u), height + 0.01)
    canvas.paint(shape * inside(0.085 - iris), 0.1)
    lash = line(height + upper * bow, 0.026) * inside(p["eye_width"] * (1.1 - np.abs(along)))
    canvas.shade(lash, 0.3)
    lid = line(height - lower * bow, 0.02) * inside(p["eye_width"] * (1 - np.abs(along)))
    canvas.shade(lid, 0.75)
    bag = line(height - lower * bow - 0.07, 0.025) * inside(p["eye_width"] * (1 - np.abs(along)))
    canvas.shade(p["wrinkles"] * np.clip(squint, 0, 1) * bag, 0.65)


def _nose(canvas: Canvas, p: Chunk, u: Array, v: Array) -> None:
    """Paints a shadow and two nostrils. AU9 lifts them and wrinkles the bridge."""
    wrinkle = np.clip(p["nose_wrinkle"], 0, 1)
    tip = p["nose_length"] - 0.05 * wrinkle - 0.02 * np.clip(p["upper_lip"], 0, 1)
    canvas.shade(line(u - 0.1, 0.05) * inside(tip - v, 0.3) * inside(v + 0.2, 0.3), 0.85)
    canvas.shade(line(u, 0.05) * inside(tip - v, 0.2) * inside(v + 0.25, 0.2), 1.1)
    canvas.shade(line(away((np.abs(u) - 0.075) / 1.5, v - tip), 0.035), 0.35)
    canvas.shade(line(np.abs(u) - 0.15, 0.03) * line(v - tip + 0.03, 0.05), 0.7)
    ridges = waves(9.5 * v + 4.8 * np.abs(u)) * line(v + 0.1, 0.12) * line(u, 0.16)
    canvas.shade(p["wrinkles"] * wrinkle * ridges, 0.4)
    fold = np.clip(0.15 + p["smile"] * 0.8 + p["upper_lip"] * 0.8 + wrinkle * 0.5, 0, 1) * p["wrinkles"]
    way = (v - tip + 0.05) / (p["mouth_height"] - tip)
    crease = np.abs(u) - 0.17 - (0.17 + 0.06 * p["smile"]) * way
    canvas.shade(fold * line(crease, 0.03) * inside(way, 0.2) * inside(1.1 - way, 0.3), 0.6)


def _mouth(canvas: Canvas, p: Chunk, u: Array, v: Array) -> None:
    """Paints two lips along a bent line, and what shows between them."""
    width = p["mouth_width"] * (
        1 + 0.35 * p["smile"] + 0.35 * p["stretch"] - 0.3 * p["jaw"] - 0.15 * p["lip_press"] - 0.1 * p["corner_down"]
    )
    along = u / width
    bow = np.clip(1 - np.square(along), 0, None)
    bend = p["mouth_curve"] + 0.17 * p["corner_down"] - 0.2 * p["smile"] + 0.03 * p["stretch"]
    middle = p["mouth_height"] + 0.06 * p["smile"] - 0.05 * p["chin"] - 0.04 * p["upper_lip"]
    seam = middle + bend * np.square(along) + 0.08 * p["asymmetry"] * along
    gap_up = (0.03 * p["part"] + 0.09 * p["jaw"]) * bow + 0.09 * p["upper_lip"] * np.clip(1.2 * bow, 0, 1)
    gap_down = (0.15 * p["part"] * (1 - 0.35 * p["stretch"]) + 0.3 * p["jaw"]) * bow + 0.02 * p["upper_lip"] * bow
    top, bottom = seam - gap_up, seam + gap_down
    ends = inside(width * (1 - np.abs(along)))
    thick = p["lip_thick"] * np.clip(1 - 0.75 * p["lip_press"], 0.15, 1) * np.sqrt(bow)
    lips = inside(np.minimum(v - top + thick, bottom + 1.25 * thick - v)) * ends
    canvas.paint(lips, p["lip_tone"] * p["skin"])
    hole = inside(np.minimum(v - top, bottom - v)) * ends
    canvas.paint(hole * inside(0.5 * (gap_up + gap_down) - 0.012, 0.02), 0.06)
    teeth = np.clip(p["teeth"] + 0.8 * p["upper_lip"] + 0.4 * p["stretch"], 0, 1) * (1 - 0.7 * np.clip(p["jaw"], 0, 1))
    canvas.paint(hole * inside(top + 0.1 - v) * inside(gap_up + gap_down - 0.05, 0.03) * teeth, 0.9)
    between = line(v - seam, 0.022) * ends * (1 - inside(gap_up + gap_down - 0.03, 0.03))
    canvas.shade(between, 0.35)
    corners = line(away(np.abs(along) - 1, (v - seam) / 0.05), 0.2)
    canvas.shade(corners * np.clip(p["smile"] + p["corner_down"] + p["lip_press"], 0, 1), 0.6)
    canvas.shade(line(v - bottom - 1.25 * thick - 0.07, 0.035) * line(along, 0.6), 0.8)
    boss = line(away(u / 1.5, v - p["mouth_height"] - 0.26), 0.1) * waves(9.5 * v + 5.7 * u)
    canvas.shade(p["wrinkles"] * np.clip(p["chin"], 0, 1) * boss, 0.65)


def _obstacles(canvas: Canvas, p: Chunk, u: Array, v: Array, head: Array) -> None:
    """Paints a beard, glasses, a hand."""
    beard = head * inside(away(u / 1.1, v - 0.25) - 0.42, 0.15) * inside(v - 0.15, 0.2)
    mouth = line(away(u / 0.42, (v - p["mouth_height"]) / 0.16), 1.0)
    canvas.shade(p["beard"] * beard * (1 - mouth), 0.35)
    ring = away(np.abs(u) - p["eye_distance"], (v - p["eye_height"]) * 1.15) - 0.26
    bridge = line(v - p["eye_height"] + 0.04, 0.025) * inside(0.1 - np.abs(u))
    canvas.paint(p["glasses"] * np.maximum(line(ring, 0.028), bridge), 0.08)
    hand = inside(0.24 - away(u - p["hand_x"], 0.8 * (v - p["hand_y"])))
    canvas.paint(p["hand"] * hand, 0.9 * p["skin"] + 0.06 * waves(6.4 * u))


def _photograph(picture: Array, p: Chunk, random: np.random.RandomState) -> Array:
    """Returns the picture with blur, contrast, brightness and noise."""
    for axis in (1, 2):
        sides = (np.roll(picture, 1, axis) + np.roll(picture, -1, axis)) / 2
        picture = picture + 0.66 * p["blur"] * (sides - picture)
    picture = 0.5 + p["contrast"] * (picture - 0.5) + p["brightness"]
    return np.asarray(picture + p["noise"] * random.normal(size=picture.shape).astype(np.float32))
