"""Tests of the benchmark that compares predictions of networks."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks import agreement
from benchmarks.ablation import write_predictions

LABELS = np.array([0, 1, 2, 0, 1, 2] * 20)


def network(sure: float, wrong: dict[int, int]) -> np.ndarray:
    """Returns probabilities that are right but for some images, which get another class."""
    predicted = LABELS.copy()
    for place, label in wrong.items():
        predicted[place] = label
    return np.where(np.eye(3)[predicted] == 1, sure, (1 - sure) / 2)


def test_networks_that_err_on_different_images_gain_from_an_ensemble() -> None:
    """All of them are wrong on the first image."""
    networks = {f"{place}": network(0.8, {0: 1, place: (LABELS[place] + 1) % 3}) for place in (1, 2, 3)}
    found = agreement.measure(networks, LABELS, 3)
    assert found["mean_of_single"] == pytest.approx(118 / 120)
    assert found["all_together"] == pytest.approx(119 / 120)
    assert found["two_agree"] == pytest.approx(118 / 120)
    assert found["all_agree"] == pytest.approx(117 / 120)
    assert found["right_where_all_agree"] == pytest.approx(116 / 117)
    assert found["none_right"] == found["all_agree_and_wrong"] == pytest.approx(1 / 120)


def test_a_network_that_is_not_sure_counts_as_much_as_others() -> None:
    """Two networks are right about the first image, and hardly sure. The third one is sure."""
    unsure, sure = network(0.4, {5: 0}), network(0.97, {0: 1, 5: 0})
    found = agreement.measure({"a": unsure, "b": unsure, "c": sure}, LABELS, 3)
    assert found["all_together"] == pytest.approx(119 / 120)


def test_a_folder_is_measured_and_the_record_names_each_network(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, wrong in {"vgg, seed 0": 1, "vgg, seed 1": 2}.items():
        both = torch.from_numpy(network(0.8, {wrong: (LABELS[wrong] + 1) % 3}))
        write_predictions(both, both, torch.from_numpy(LABELS), tmp_path / "kept" / f"{name}.npz")
    agreement.main([str(tmp_path / "kept"), "--size", "2", "--out", str(tmp_path / "out.json")])
    record = json.loads((tmp_path / "out.json").read_text())
    assert record["networks"] == {"vgg, seed 0": 119 / 120, "vgg, seed 1": 119 / 120}
    assert '"two_agree"' in capsys.readouterr().out


def test_predictions_for_different_images_are_refused(tmp_path: Path) -> None:
    for name, labels in {"a": LABELS, "b": LABELS[::-1]}.items():
        both = network(0.8, {})
        np.savez_compressed(tmp_path / f"{name}.npz", plain=both, flip=both, labels=labels)
    with pytest.raises(ValueError, match=r"b\.npz is for other images"):
        agreement.read(tmp_path)
    with pytest.raises(ValueError, match="no predictions"):
        agreement.read(tmp_path / "none")
