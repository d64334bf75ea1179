"""Few configurations that cover the space evenly tell more of what epochs cost than random ones."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.search import probe_cost
from benchmarks.search.probe_cost import Truth, deviations


def test_even_configurations_tell_more() -> None:
    loose, even = deviations(Truth.of("deep_cnn"), repeats=40)
    assert even < 0.75 * loose


def test_many_configurations_tell_the_mean_cost() -> None:
    random = np.random.default_rng(0)
    truth = Truth.of("deep_cnn")
    assert truth.error(truth.cube.draw(1000, random), random) == pytest.approx(0.0, abs=0.05)


def test_each_family_has_a_line(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe_cost, "deviations", lambda truth, repeats: (0.1, 0.05))
    probe_cost.main(["--family", "simple_cnn"])
    line = capsys.readouterr().out
    assert line.startswith("simple_cnn, learned from ")
    assert "to 10.0% if they are drawn at random, and to 5.0% if evenly." in line
