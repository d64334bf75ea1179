"""The tables in the pages: they are those of the records, and leave nothing out."""

from __future__ import annotations

import re
from typing import Any

import pytest

from benchmarks import by_hand, readme_table, tables, what_helped
from benchmarks.tables import RESULTS, record
from fer_tune.data.fer2013 import BY_HAND

EIGHT = BY_HAND[7]


def test_the_tables_are_up_to_date() -> None:
    assert readme_table.main([]) == 0


def test_every_table_is_on_a_page() -> None:
    pages = "".join(page.read_text(encoding="utf-8") for page in readme_table.PAGES)
    assert sorted(re.findall(r"<!-- table: (\w+) -->", pages)) == sorted(readme_table.TABLES)


def test_a_figure_that_was_altered_is_written_again() -> None:
    page = (readme_table.ROOT / "README.md").read_text(encoding="utf-8")
    assert readme_table.written(page.replace("65.19", "66.19")) == page


def test_an_empty_place_for_a_table_does_not_swallow_the_next_one() -> None:
    page = "".join(f"<!-- table: {name} -->\n<!-- end of table -->\n\n" for name in ("by_hand", "findings"))
    assert re.findall(r"<!-- table: (\w+) -->\n\|", readme_table.written(page)) == ["by_hand", "findings"]


@pytest.mark.parametrize(
    ("trainings", "records"),
    [
        (what_helped.WIDTH, ["ablation-strong-h100.json"]),
        (what_helped.TWICE_THE_WIDTH, ["wide-*.json", "stochastic-depth-h100.json"]),
        (what_helped.WEAKER_AUGMENTATION, ["geometry-*.json", "taught-h100.json"]),
    ],
)
def test_no_training_is_left_out(trainings: what_helped.Trainings, records: list[str]) -> None:
    there = {
        (path.name, place)
        for name in records
        for path in RESULTS.glob(name)
        for place in range(len(record(path.name)["runs"]))
    }
    assert {(name, place) for _, name, places in trainings for place in places} == there


def test_no_training_of_sixty_epochs_is_left_out() -> None:
    there = {path.name for path in RESULTS.glob("sixty-*.json")}
    assert {f"sixty-{name}-h100.json" for name in what_helped.SIXTY.values()} == there
    assert {run["epochs"] for name in there for run in record(name)["runs"]} == {60}


def test_no_network_with_other_weights_is_left_out() -> None:
    there = {path.name for path in RESULTS.glob("weights-*-h100.json")}
    assert {f"weights-{name}-h100.json" for name in what_helped.WEIGHTS.values()} == there
    trained = sum(len(record(name)["runs"]) for name in there)
    assert trained == len(record("weights-agreement.json")["networks"])


def test_no_opening_of_the_test_split_by_a_winner_is_left_out() -> None:
    assert set(what_helped.WINNERS) == {path.name for path in RESULTS.glob("winner-*.json")}
    lines = {line for name in what_helped.WINNERS for line in ledger(record(name))}
    *_, latest = what_helped.WINNERS
    *_, last = what_helped.winner_on_test().splitlines()
    counted = int(last.split("|")[-2]) + len(record(latest)["retrain"]["seconds"])
    sweeps = [one for one in tables.sweep_records() if one["retrain"]]
    assert counted == len(lines) + len(sweeps) + sum(tables.UNRECORDED.values())


def ledger(found: dict[str, Any]) -> list[str]:
    """Returns the lines of the ledger in a record of `benchmarks.winner`."""
    return [line for part in ("retrain", "ensemble") for line in found.get(part, {}).get("ledger", [])]


def sweep(family: str, date: str, found: list[dict[str, Any]], output: str = "", fitted: bool = True) -> dict[str, Any]:
    accuracy = {"accuracy": 0.5, "accuracy_standard_error": 0.01}
    return {
        "family": family,
        "date": date,
        "output": output,
        "found": found,
        "best_trial": 0,
        "retrain": {"test": {"plain": accuracy, "flip": accuracy}} if fitted else None,
    }


def trial(number: int, name: str | None, value: float | None, state: str = "complete") -> dict[str, Any]:
    return {"number": number, "name": name, "value": value, "state": state, "epochs": 12}


def test_the_winner_and_the_best_sampled_trial_are_told_apart() -> None:
    found = [trial(0, "a start", 0.7), trial(1, None, 0.65), trial(2, None, 0.68, "pruned"), trial(3, None, None)]
    assert tables.winner(sweep("vgg", "2026-01-01", found)) == "0, start “a start”"
    assert tables.best_sampled(sweep("vgg", "2026-01-01", found)) == "65.00"
    assert tables.best_sampled(sweep("vgg", "2026-01-01", found[2:])) == "68.00 (all pruned, at epoch 12)"
    assert tables.best_sampled(sweep("vgg", "2026-01-01", found[:1])) == "none was sampled"
    assert tables.winner(sweep("vgg", "2026-01-01", [trial(0, None, 0.7)])) == "0, sampled"


def test_openings_before_are_counted_by_date_and_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "UNRECORDED", {"vgg": 1})
    first = sweep("vgg", "2026-01-01", [], "10:00:00 begins\n11:00:00 ends\n")
    searched = sweep("vgg", "2026-01-01", [], "10:30:00 begins\n", fitted=False)
    second = sweep("resnet", "2026-01-01", [], "10:59:00 begins\n12:00:00 ends\n")
    third = sweep("vgg", "2026-01-02", [], "01:00:00 begins\n")
    every = [first, searched, second, third]
    counted = [tables.openings(one, every) for one in every]
    assert counted == ["1 (1 by vgg)", "–", "2 (0 by resnet)", "3 (2 by vgg)"]


def test_an_experiment_by_hand_shows_what_was_recorded_and_what_comes_out_again() -> None:
    params = tables.configuration(EIGHT)
    figures = dict.fromkeys(by_hand.FIGURES, 50.0)
    repeated = {"number": 8, "params": params, "reproduced": figures}
    row = tables.by_hand_row(EIGHT, tables.repetition(EIGHT, [repeated]))
    assert row[3:] == ["20 of 30", "62.53", "50.00", "57.14", "50.00", "58.16", "50.00"]


def test_an_experiment_counts_only_with_the_configuration_that_its_sweep_has() -> None:
    other = {"number": 8, "params": tables.configuration(EIGHT) | {"augment": 0.9}, "reproduced": {}}
    assert tables.repetition(EIGHT, [other]) is None
    assert tables.by_hand_row(EIGHT, None)[5] == "–"


def test_what_comes_out_again_is_within_two_points_of_what_was_recorded() -> None:
    experiments = tables.experiments_again()
    missed, checked = [], 0
    for one in BY_HAND:
        repeated = tables.repetition(one, experiments)
        assert repeated is not None, f"experiment {one.number} was not trained again as its sweep says"
        for name in ("train_accuracy", "val_accuracy", "test_accuracy"):
            wanted, found = repeated["recorded"][name], repeated["reproduced"][name]
            if wanted is not None:
                checked += 1
                if abs(wanted - found) > by_hand.TOLERANCE:
                    missed.append((one.number, name))
    assert checked == 13
    assert not missed


def test_a_variant_is_meant_for_all_experiments_or_for_the_one_that_it_names() -> None:
    texts = ["width=0.5", "8:stem=7x7,augment=0.1"]
    assert list(by_hand.variants(texts, 7)) == [{"width": 0.5}]
    assert list(by_hand.variants(texts, 8)) == [{"width": 0.5}, {"stem": "7x7", "augment": 0.1}]
