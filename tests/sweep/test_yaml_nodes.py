"""Both loaders of YAML read a sweep alike, and say the same about one that is not valid."""

from __future__ import annotations

import random

import pytest
import yaml

from fer_tune.sweep import yaml_nodes
from fer_tune.sweep.shipped import FOLDER
from fer_tune.sweep.yaml_nodes import Node, Problems, parse

PIECES = [*"abz019 :{}[],-#&*'\"%@`\n.~<", "\n  ", "\n    ", "- ", ": ", "&a ", "*a", "<<: ", '"\\x41"', "key: "]


def read(text: str) -> tuple[Node, list[str]]:
    problems = Problems()
    return parse(text, problems), list(problems)


def changed(text: str, draws: random.Random) -> str:
    """Returns a part of a document with a piece of another in it."""
    start = draws.randrange(len(text))
    part = text[max(0, start - 60) : start + 60]
    at = draws.randrange(len(part))
    return part[:at] + draws.choice(PIECES) + part[at + draws.randint(0, 2) :]


@pytest.mark.skipif(not yaml.__with_libyaml__, reason="PyYAML has no libyaml here")
def test_libyaml_reads_what_pyyaml_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    draws = random.Random(6)
    whole = [path.read_text("utf-8") for path in sorted(FOLDER.glob("*.yaml"))]
    texts = whole + [changed(draws.choice(whole), draws) for _ in range(150)]
    texts += ["".join(draws.choices(PIECES, k=draws.randint(1, 25))) for _ in range(300)]
    fast = [read(text) for text in texts]
    monkeypatch.setattr(yaml_nodes, "_Fast", None)
    assert [read(text) for text in texts] == fast


@pytest.mark.parametrize("text", ["[" * 20_000, "- " * 100_000, "\n".join(" " * n + "a:" for n in range(600))])
def test_a_document_may_be_nested_as_deep_as_it_likes(text: str) -> None:
    _, problems = read(text)
    assert problems
    assert "nested more than 24 deep" in problems[0] or "not YAML" in problems[0]
