"""What the record of the campaigns says of one that could not be carried out."""

from __future__ import annotations

import json
from pathlib import Path

from benchmarks.chaos.campaigns import LONG, Result
from benchmarks.chaos.record import record


def test_a_campaign_that_could_not_be_carried_out_fails_nothing_and_replaces_nothing(tmp_path: Path) -> None:
    one = next(campaign for campaign in LONG if campaign.ray)
    skipped = Result(one, 1, skipped="Ray is not installed")
    assert skipped.passed
    [alone] = record([skipped], [], None)["campaigns"]
    assert (alone["skipped"], alone["passed"]) == ("Ray is not installed", True)

    file = tmp_path / "chaos.json"
    file.write_text(json.dumps(record([Result(one, 2)], [], None)))
    [kept] = record([skipped], [], file)["campaigns"]
    assert (kept["seed"], kept["skipped"]) == (2, "")


def test_a_campaign_with_a_problem_fails(tmp_path: Path) -> None:
    assert not Result(LONG[0], 1, problems={"database sound": ["it is not"]}).passed
