"""The ledger of a storage folder: it only grows, and every opening is in it once."""

from __future__ import annotations

import json
import multiprocessing
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from fer_tune.errors import StorageError
from fer_tune.store.openings import Openings, joined
from fer_tune.store.records import LedgerRecord


def opened(root: Path, *ids: str, split: str = "s" * 64) -> None:
    for id in ids:
        Openings(root).open(id, split, purpose="evaluate", model=f"model {id}", study="resnet")


def test_an_opening_is_recorded_once_with_its_first_result(tmp_path: Path) -> None:
    ledger = Openings(tmp_path)
    first = ledger.open("a", "s", purpose="final fit", model="a", study="resnet")
    assert ledger.open("a", "s", purpose="final fit", model="a", study="resnet") == first
    ledger.result("a", {"plain": 0.7})
    ledger.result("a", {"plain": 0.9})
    [found] = ledger.of_split("s")
    assert (found.result, found.opened) == ({"plain": 0.7}, first.opened)
    assert found.line.endswith("resnet final fit a: plain 70.00 %")


def test_views_that_are_evaluated_later_are_added_to_the_result(tmp_path: Path) -> None:
    ledger = Openings(tmp_path)
    opened(tmp_path, "a")
    ledger.result("a", {"plain": 0.7, "flip": 0.72})
    before = ledger.path.read_bytes()
    ledger.result("a", {"plain": 0.9, "flip": 0.72, "crops": 0.75})
    [found] = ledger.all()
    assert found.result == {"plain": 0.7, "flip": 0.72, "crops": 0.75}
    after = ledger.path.read_bytes()
    assert after.startswith(before)
    assert [json.loads(line) for line in after[len(before) :].splitlines()] == [
        {"result_of": "a", "result": {"crops": 0.75}}
    ]
    ledger.result("a", {"crops": 0.8})
    assert ledger.path.read_bytes() == after


def test_a_merge_adds_the_views_that_a_known_opening_lacks(tmp_path: Path) -> None:
    one, other = Openings(tmp_path / "one"), Openings(tmp_path / "other")
    opened(tmp_path / "one", "a")
    one.result("a", {"plain": 0.7})
    assert other.merge(one.lines()) == 1
    one.result("a", {"crops": 0.8})
    assert other.merge(one.lines()) == 0
    assert other.all() == one.all()
    before = other.path.read_bytes()
    assert (other.merge(one.lines()), other.path.read_bytes()) == (0, before)


def test_it_is_keyed_by_the_split(tmp_path: Path) -> None:
    opened(tmp_path, "a", split="s")
    opened(tmp_path, "b", split="other")
    assert [one.id for one in Openings(tmp_path).of_split("s")] == ["a"]
    assert Openings(tmp_path / "elsewhere").of_split("s") == []


def test_an_opening_of_images_with_two_names_counts_once_under_each(tmp_path: Path) -> None:
    ledger = Openings(tmp_path)
    opened(tmp_path, "a", split="s")
    opened(tmp_path, "b", split=joined("s", "data PrivateTest"))
    opened(tmp_path, "c", split="data privatetest")
    opened(tmp_path, "d", split="data PublicTest")
    for key, ids in {"s": "ab", "data PrivateTest": "bc", joined("s", "data PrivateTest"): "abc"}.items():
        assert "".join(one.id for one in ledger.of_split(key)) == ids


def test_lines_are_added_and_never_changed(tmp_path: Path) -> None:
    opened(tmp_path, "a", "b")
    before = Openings(tmp_path).path.read_bytes()
    Openings(tmp_path).result("a", {"plain": 0.5})
    opened(tmp_path, "c", "a")
    after = Openings(tmp_path).path.read_bytes()
    assert after.startswith(before)
    assert [set(json.loads(line)) for line in after.decode().splitlines()[2:3]] == [{"result_of", "result"}]


@pytest.mark.parametrize("torn", [b'{"id": "x", "spl', b"\x00\xff", b"[]", b'{"result_of": "never"}'])
def test_a_torn_line_costs_no_other(tmp_path: Path, torn: bytes) -> None:
    opened(tmp_path, "a")
    with Openings(tmp_path).path.open("ab") as file:
        file.write(torn)
    opened(tmp_path, "b")
    assert [one.id for one in Openings(tmp_path).of_split("s" * 64)] == ["a", "b"]


def test_openings_of_a_database_from_before_the_file_count_too(tmp_path: Path) -> None:
    opened(tmp_path, "job 2")
    moment = datetime(2020, 1, 1, tzinfo=UTC)
    old = [
        LedgerRecord(1, "vgg", "job 1", "s" * 64, "final fit", moment),
        LedgerRecord(2, "resnet", "job 2", "s" * 64, "final fit", moment),
    ]
    assert [one.model for one in Openings(tmp_path).of_split("s" * 64, old)] == ["job 1", "model job 2"]


def test_an_opening_by_a_deleted_study_counts_once(tmp_path: Path) -> None:
    """The database forgets the job of a deleted study. The file still has the opening."""
    for id in ("job 1", "job 2"):
        Openings(tmp_path).open(id, "s" * 64, purpose="final fit", model=id, study="vgg")
    moments = [one.opened - timedelta(milliseconds=5) for one in Openings(tmp_path).all()]
    before = datetime(2020, 1, 1, tzinfo=UTC)
    gone = [LedgerRecord(0, "vgg", None, "s" * 64, "final fit", moment) for moment in (before, before, *moments)]
    found = Openings(tmp_path).of_split("s" * 64, gone)
    assert [one.id for one in found] == ["deleted 0", "deleted 1", "job 1", "job 2"]
    assert found[0].line == "2020-01-01 00:00 vgg final fit of a deleted study"


def test_processes_do_not_lose_each_other_s_lines(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    processes = [
        context.Process(target=opened, args=(tmp_path, *(f"{name}{count}" for count in range(20)))) for name in "ab"
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert len(Openings(tmp_path).of_split("s" * 64)) == 40


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(StorageError, match=r"test-ledger\.jsonl"):
        opened(tmp_path, "a")
