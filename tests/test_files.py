"""Drafts: folders that are written beside their place, and renamed to it."""

from __future__ import annotations

import fcntl
import os
import shutil
import stat
from pathlib import Path
from typing import Any

import pytest

from fer_tune import files


def test_a_draft_folder_that_is_removed_before_it_is_locked_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process may take a new draft, which is not locked yet, for one that a kill left."""
    removed: list[Path] = []
    lock = fcntl.flock

    def late(descriptor: int, how: int) -> Any:
        if not removed:
            [young] = tmp_path.iterdir()
            shutil.rmtree(young)
            removed.append(young)
        return lock(descriptor, how)

    monkeypatch.setattr(files.fcntl, "flock", late)
    with files.draft_folder(tmp_path / "new") as draft:
        assert removed
        assert draft not in removed
        (draft / "content").write_text("whole")
        assert files.remove_drafts(tmp_path) == 0
        draft.rename(tmp_path / "new")
    assert (tmp_path / "new" / "content").read_text() == "whole"
    assert [path.name for path in tmp_path.iterdir()] == ["new"]


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o077, 0o600)])
def test_the_umask_says_who_may_read_a_file(tmp_path: Path, umask: int, mode: int) -> None:
    before = os.umask(umask)
    try:
        files.replace_text(tmp_path / "model.json", "{}")
        with files.draft_folder(tmp_path / "new") as draft:
            draft.rename(tmp_path / "new")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "model.json").stat().st_mode) == mode
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == mode | (mode >> 2 & 0o111)
