"""Domains know their members, parameters when they are active, and keys lead back to names."""

from __future__ import annotations

from fer_tune.sweep.space import Choice, Fixed, Parameter, Range, key_of, keyed, name_of, named, show


def test_membership() -> None:
    assert Range(0.1, 1.0).contains(0.1)
    assert not Range(0.1, 1.0).contains(1.01)
    assert Range(0.1, 0.7, step=0.2).contains(0.3)
    assert not Range(0.1, 0.7, step=0.2).contains(0.4)
    assert Range(2, 8, integer=True).contains(3)
    assert not Range(2, 8, integer=True).contains(3.5)
    assert not Range(0, 1).contains(True)
    assert not Range(0, 1).contains("0")
    assert Choice((1, 2)).contains(1)
    assert not Choice((1, 2)).contains(True)
    assert not Fixed(False).contains(0)


def space() -> dict[str, Parameter]:
    sgd, adam = {"optimizer": ("sgd",)}, {"optimizer": ("adam", "adamw")}
    parameters = [
        Parameter("depth", "depth", Fixed(18)),
        Parameter("optimizer", "optimizer", Choice(("sgd", "adam", "adamw"))),
        Parameter(key_of("lr", sgd), "lr", Range(0.01, 0.3), sgd),
        Parameter(key_of("lr", adam), "lr", Range(1e-4, 1e-2), adam),
        Parameter("momentum", "momentum", Range(0.8, 0.99), sgd),
        Parameter("nested", "nested", Range(0.0, 1.0), {"momentum": (0.9,), "depth": (18,)}),
    ]
    return {parameter.key: parameter for parameter in parameters}


def test_values_go_to_the_active_alternative_and_back() -> None:
    params = {"optimizer": "adamw", "lr": 1e-3, "depth": 18, "momentum": 0.9}
    enqueued = keyed(space(), params)
    assert enqueued == {"optimizer": "adamw", "lr[optimizer=adam,adamw]": 1e-3}
    assert named(enqueued) == {"optimizer": "adamw", "lr": 1e-3}
    assert name_of("lr[optimizer=adam,adamw]") == "lr"


def test_a_condition_on_an_inactive_parameter_is_not_met() -> None:
    nested = space()["nested"]
    assert nested.active({"momentum": 0.9, "depth": 18})
    assert not nested.active({"depth": 18})
    assert not nested.active({"momentum": 0.9, "depth": 34})


def test_values_are_shown_as_a_sweep_writes_them() -> None:
    assert [show(value) for value in (True, 1.0, 1e-5, 0.123456789, "sgd", 18)] == [
        "true", "1", "1e-05", "0.123456789", "sgd", "18",
    ]  # fmt: skip
