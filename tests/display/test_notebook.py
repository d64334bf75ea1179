"""A run in a notebook: drawn in place, with notes above. IPython is imitated."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

import pytest

from fer_tune.display.notebook import NotebookView, in_notebook
from fer_tune.display.run_state import RunState


class Handle:
    def __init__(self) -> None:
        self.shown: list[str] = []

    def update(self, text: str) -> None:
        self.shown.append(text)


@pytest.fixture
def ipython(monkeypatch: pytest.MonkeyPatch) -> Handle:
    handle = Handle()
    shell: Any = ModuleType("IPython")
    package: Any = ModuleType("IPython.display")
    package.display = lambda text, display_id: handle
    package.HTML = str
    shell.display = package
    shell.get_ipython = type("Shell", (), {"kernel": 1})
    monkeypatch.setitem(sys.modules, "IPython", shell)
    monkeypatch.setitem(sys.modules, "IPython.display", package)
    return handle


def test_a_notebook_is_recognised(ipython: Handle, monkeypatch: pytest.MonkeyPatch) -> None:
    assert in_notebook()
    monkeypatch.delitem(sys.modules, "IPython")
    assert not in_notebook()


def test_the_view_is_drawn_again_in_its_place(ipython: Handle) -> None:
    with NotebookView(RunState()) as view:
        view.note("<b>a note</b>")
        view.tick()
        view.tick()  # too soon
        assert len(ipython.shown) == 1
    assert len(ipython.shown) == 2
    assert "&lt;b&gt;a note&lt;/b&gt;" in ipython.shown[-1]
    assert ipython.shown[-1].startswith("<pre")
