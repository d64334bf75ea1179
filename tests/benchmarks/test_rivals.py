"""How a search space reaches other libraries, and comes back as a configuration."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.search import tables
from benchmarks.search.__main__ import about
from benchmarks.search.cases import our_sweeps
from benchmarks.search.compare import compare
from benchmarks.search.measure import LIBRARIES, Results, factory
from benchmarks.search.picture import draw
from benchmarks.search.rivals.flat import FlatSpace, choices
from fer_tune.errors import SettingsError
from fer_tune.sweep.space import Choice, Fixed, Parameter, Range
from tests.benchmarks.simulated import SMALL, simulator, small


def test_only_active_parameters_come_back() -> None:
    flat = FlatSpace(small().space)
    names = {parameter.key: name for name, parameter in flat.items()}
    values = {
        names["optimizer"]: "1",
        names["lr[optimizer=sgd]"]: 0.05,
        names["lr[optimizer=muon]"]: 0.002,
        names["augment"]: 0.3,
        names["batch_size"]: "0",
        names["schedule"]: "1",
    }
    params = flat.params(values)
    assert params == {"optimizer": "sgd", "lr": 0.05, "augment": 0.3, "batch_size": 64, "schedule": "cosine"}


def test_a_configuration_fills_its_columns() -> None:
    flat = FlatSpace(small().space)
    params = dict(small().start[0].params)
    columns = {parameter.key: flat.column(parameter, params) for _, parameter in flat.items()}
    assert columns == {
        "optimizer": "0",
        "lr[optimizer=sgd]": None,
        "lr[optimizer=muon]": 0.002,
        "augment": 0.45,
        "batch_size": "0",
        "schedule": "1",
    }


def test_values_keep_their_kind_and_fixed_ones_are_added() -> None:
    domains = {"depth": Range(1, 9, integer=True, step=2), "norm": Choice((True, False)), "width": Fixed(8)}
    flat = FlatSpace({name: Parameter(name, name, domain) for name, domain in domains.items()})
    assert [name for name, _ in flat.items()] == ["p0", "p1"]
    params = flat.params({"p0": 4.2, "p1": "0"})
    assert params == {"depth": 5, "norm": True, "width": 8}
    assert isinstance(params["depth"], int)
    assert choices(Choice(("a", "b"))) == ["0", "1"]


def test_a_rival_whose_library_is_missing_names_it() -> None:
    pytest.importorskip("optuna")
    try:
        import dehb  # noqa: F401
    except ModuleNotFoundError:
        with pytest.raises(SettingsError, match="needs dehb"):
            factory("dehb")
    assert len({name for names in LIBRARIES.values() for name in names}) == sum(map(len, LIBRARIES.values()))


def test_the_picture_has_a_panel_for_each_comparison(tmp_path: Path) -> None:
    results = Results(tmp_path / "search.json")
    part = results.family("deep_cnn")
    part["runs"] = {
        f"{rival}/{slots}/{seed}": {"times": [20.0, 90.0], "true": [0.5, 0.6]}
        for rival in ("fer-tune", "tpe+median")
        for slots in (1, 8)
        for seed in (0, 1)
    }
    part |= {"budget_seconds": 100.0, "simulation": {"invented": True}, "compared": compare(part["runs"], 100.0)}
    draw(results.content, tmp_path / "search.svg")
    text = (tmp_path / "search.svg").read_text()
    draw(results.content, tmp_path / "again.svg")
    assert (tmp_path / "again.svg").read_text() == text
    assert text.count('id="axes_') == 2


def test_a_simulation_that_is_not_believed_says_so() -> None:
    record = dict(simulator().record)
    assert "Rank correlation" in about(record | {"invented": False})
    assert "invented" in about(record | {"invented": True})
    assert "do not believe" in about(record | {"invented": False, "believed": False})
    assert "assumed" in about(record | {"invented": False, "noise": {"measured_on_seeds": 0}})


def test_variants_of_our_search_are_changes_of_the_sweep(tmp_path: Path) -> None:
    path = tmp_path / "small.yaml"
    path.write_text(SMALL)
    sweeps = our_sweeps(path, ["chance; sampler={name: random, seed: 3}; pruner=none"])
    assert list(sweeps) == ["fer-tune", "fer-tune chance"]
    assert sweeps["fer-tune chance"].sampler.seed == 3
    assert all(not sweep.start for sweep in sweeps.values())
    assert [start.name for start in our_sweeps(path, [], "first")["fer-tune"].start] == ["first"]
    with pytest.raises(SettingsError, match="no start configuration 'second'"):
        our_sweeps(path, [], "second")


def test_the_tables_have_each_family_and_each_search(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    results = Results(tmp_path / "search.json")
    part = results.family("deep_cnn")
    results.begin(part, dict(simulator().record))
    part["runs"] = {
        f"{rival}/1/{seed}": {"times": [20.0], "true": [0.5], "seconds": 100.0}
        for rival in ("fer-tune", "tpe+median")
        for seed in (0, 1)
    }
    part["compared"] = compare(part["runs"], 100.0)
    monkeypatch.setattr(tables, "record", lambda name: results.content)
    assert "| deep_cnn | 68 | gaussian process |" in tables.search_quality()
    rows = tables.search_rivals().splitlines()
    assert rows[0].endswith("| 0.25 | 0.5 | 1 |")
    assert "| deep_cnn | 1 | fer-tune | 2 | 1.50 | 0.20 | 50.00 | 50.00 | 50.00 |" in rows
