"""Whatever is thrown at the loader, it answers with a valid sweep or a SweepError, and soon."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from hypothesis import given
from hypothesis import strategies as st

from fer_tune.errors import SweepError
from fer_tune.sweep.catalogue import catalogue
from fer_tune.sweep.load import loads_sweep
from fer_tune.sweep.schema import OBJECTIVES, PRUNERS, SAMPLERS, SweepKeys
from tests.anything import tries

quick = tries(150)

NAMES = list(catalogue("resnet"))
WORDS = st.sampled_from(
    [*NAMES, *SweepKeys.model_fields, *SAMPLERS, *PRUNERS, *OBJECTIVES, "resnet", "vgg", "sgd", "adam", "sqrt",
     "weighted", "low", "high", "log", "step", "choices", "value", "when", "name", "wrapped_pruner", "<<", "trials",
     "epochs"]
)  # fmt: skip
SCALARS = (
    WORDS
    | st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from([0, 1, 2, 18, 34, 0.1, 0.5, 1e-4, 64, 1e308, 5e-324])
)
ANYTHING = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(WORDS | st.text(max_size=5), inner, max_size=5),
    max_leaves=12,
)
WHEN = st.dictionaries(st.sampled_from(NAMES), SCALARS | st.lists(SCALARS, max_size=3), max_size=2)
DOMAIN = st.fixed_dictionaries({}, optional=dict.fromkeys(("low", "high", "log", "step", "value"), SCALARS)) | (
    st.fixed_dictionaries({"choices": st.lists(SCALARS, max_size=4)}, optional={"when": WHEN})
)
RANGE = st.fixed_dictionaries(
    {"low": st.floats(0, 1), "high": st.floats(0, 2)},
    optional={"log": st.booleans(), "step": st.floats(0, 1), "when": WHEN},
)
NEARLY = st.fixed_dictionaries(
    {"family": st.sampled_from(["resnet", "vgg", "deep_cnn", "resnett"])},
    optional={
        "params": st.dictionaries(
            st.sampled_from(NAMES), SCALARS | DOMAIN | RANGE | st.lists(RANGE | DOMAIN, max_size=3), max_size=5
        ),
        "start": st.lists(st.dictionaries(st.sampled_from([*NAMES, "name"]), SCALARS, max_size=4), max_size=3)
        | ANYTHING,
        "sampler": st.sampled_from([*SAMPLERS]) | ANYTHING,
        "pruner": st.sampled_from([*PRUNERS]) | ANYTHING,
        "budget": ANYTHING,
        "split": ANYTHING,
        "objective": SCALARS,
        "seed": SCALARS,
        "study": SCALARS,
        "data": SCALARS,
    },
)


def loads_or_says_why(text: str, *overrides: str) -> None:
    problems: tuple[str, ...] = ()
    try:
        sweep = loads_sweep(text, Path("any.yaml"), overrides)
    except SweepError as error:
        problems, sweep = error.problems, None
    if sweep is None:
        assert problems
        assert all(problem.startswith(("line ", "--set ")) for problem in problems)
        return
    again = loads_sweep(yaml.safe_dump(sweep.plain()) if not overrides else sweep.text, Path("again.yaml"))
    assert again.signature() == sweep.signature()


@quick
@given(st.text(max_size=200) | st.text("abc:&*[]{},-!|>%@`'\"\\ \n\t#<?~01.e", max_size=80))
def test_any_text(text: str) -> None:
    loads_or_says_why(text)


@quick
@given(ANYTHING)
def test_any_structure(value: Any) -> None:
    loads_or_says_why(yaml.safe_dump(value, allow_unicode=True))


@quick
@given(NEARLY)
def test_anything_like_a_sweep(value: dict[str, Any]) -> None:
    loads_or_says_why(yaml.safe_dump(value, allow_unicode=True))


@quick
@given(NEARLY, st.lists(st.tuples(WORDS | st.text(max_size=10), SCALARS | ANYTHING), max_size=3))
def test_any_override(value: dict[str, Any], overrides: list[tuple[str, Any]]) -> None:
    assignments = [f"{key}={yaml.safe_dump(new, default_flow_style=True)}" for key, new in overrides]
    loads_or_says_why(yaml.safe_dump(value, allow_unicode=True), *assignments)
