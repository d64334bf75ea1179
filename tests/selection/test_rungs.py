"""Tests of the rungs: which trials pause, and which of them continue."""

from __future__ import annotations

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from fer_tune.selection.rungs import Rungs


def reached(rungs: Rungs, values: dict[str, float], epoch: int) -> None:
    for place, (uid, value) in enumerate(values.items()):
        rungs.record(uid, epoch, value, place)
        rungs.pause(uid, epoch)


def test_a_trial_continues_once_it_is_among_the_best_of_its_rung() -> None:
    rungs = Rungs([1, 3], factor=3)
    reached(rungs, {"a": 0.5, "b": 0.4}, 1)
    assert list(rungs.promotable()) == []
    rungs.record("c", 1, 0.1, 2)
    rungs.pause("c", 1)
    assert list(rungs.promotable()) == ["a"]


def test_a_trial_that_was_passed_over_continues_later() -> None:
    rungs = Rungs([1], factor=2)
    reached(rungs, {"a": 0.5, "b": 0.4}, 1)
    rungs.promote("a")
    assert list(rungs.promotable()) == []
    reached(rungs, {"c": 0.1, "d": 0.2}, 1)
    assert list(rungs.promotable()) == ["b"]


def test_higher_rungs_come_first_and_equal_values_by_the_order_of_the_draws() -> None:
    rungs = Rungs([1, 3], factor=2)
    reached(rungs, {"a": 0.5, "b": 0.5, "c": 0.9, "d": 0.9}, 1)
    reached(rungs, {"c": 0.7, "d": 0.7}, 3)
    assert list(rungs.promotable()) == ["c"]  # two of four at rung 1 are c and d, which are at rung 3 now
    rungs.promote("c")
    assert list(rungs.promotable()) == []


def test_the_end_of_a_study_promotes_the_best_of_each_rung_however_few_they_are() -> None:
    rungs = Rungs([1], factor=3)
    reached(rungs, {"a": 0.1, "b": 0.4}, 1)
    assert list(rungs.promotable(closing=True)) == ["b"]
    rungs.promote("b")
    assert list(rungs.promotable(closing=True)) == []


def test_the_end_of_a_study_promotes_the_best_of_a_rung_even_if_as_many_as_may_have_continued() -> None:
    rungs = Rungs([1], factor=3)
    reached(rungs, {"a": 0.1, "b": 0.4, "c": 0.2}, 1)
    rungs.promote("b")
    reached(rungs, {"d": 0.5, "e": 0.3}, 1)
    assert list(rungs.promotable()) == []
    assert list(rungs.promotable(closing=True)) == ["d"]
    rungs.promote("d")
    assert list(rungs.promotable(closing=True)) == []


def test_a_trial_that_is_paused_at_no_rung_of_a_changed_sweep_continues() -> None:
    rungs = Rungs([4], factor=3)
    rungs.pause("a", 2)
    assert list(rungs.promotable()) == ["a"]
    assert rungs.next_after(2) == 4
    assert rungs.next_after(4) is None


def test_a_trial_that_waits_at_an_epoch_that_is_no_longer_a_rung_does_not_keep_itself_from_continuing() -> None:
    rungs = Rungs((1, 3), 4)
    for epoch in (1, 2, 3, 4):
        rungs.record("a", epoch, 0.9, 0)
    rungs.pause("a", 4)
    assert list(rungs.promotable()) == []
    assert list(rungs.promotable(closing=True)) == ["a"]


def test_a_trial_that_was_cut_off_has_continued_from_the_rungs_below() -> None:
    rungs = Rungs((2, 5), 3)
    for place, (uid, value) in enumerate({"a": 0.1, "b": 0.8, "c": 0.9}.items()):
        rungs.record(uid, 2, value, place)
    rungs.pause("a", 2)
    rungs.pause("c", 2)
    assert list(rungs.promotable()) == ["c"]
    rungs.cut("b", 5)
    assert list(rungs.promotable()) == [], "a third of the rung has continued"


def test_the_time_that_is_left_finishes_the_best_trial_that_fits() -> None:
    rungs = Rungs([2, 4], factor=3)
    reached(rungs, {"a": 0.1, "b": 0.4, "c": 0.3}, 2)
    reached(rungs, {"b": 0.6}, 4)
    paces = {"a": 1.0, "b": 1.0, "c": 1.0}
    assert rungs.fitting(100.0, 10, paces) is None
    assert rungs.fitting(10.0, 10, paces) == "b"
    assert rungs.fitting(10.0, 10, paces | {"b": 2.0}) == "c"
    assert rungs.fitting(5.0, 10, paces) is None


def test_the_worst_are_those_with_the_greatest_part_of_their_rung_before_them() -> None:
    rungs = Rungs([1, 3], factor=3)
    reached(rungs, {"a": 0.1, "b": 0.4, "c": 0.3, "d": 0.5}, 1)
    reached(rungs, {"d": 0.6}, 3)
    assert rungs.worst() == ["a", "c", "b", "d"]


@given(
    st.lists(st.floats(0, 1), min_size=1, max_size=60),
    st.integers(2, 4),
)
def test_promoted_trials_are_the_best_of_their_rung_at_that_moment(arrivals: list[float], factor: int) -> None:
    """After each arrival all promotable trials continue. A rung never has too many of them."""
    rungs = Rungs([1, 2, 4], factor)
    values: list[dict[str, float]] = [{}, {}, {}]
    level: dict[str, int] = {}
    promoted = [0, 0, 0]
    for place, value in enumerate(arrivals):
        uid = f"t{place:02}"
        level[uid] = 0
        values[0][uid] = value
        rungs.record(uid, 1, value, place)
        rungs.pause(uid, 1)
        while (best := next(rungs.promotable(), None)) is not None:
            at = level[best]
            ranked = sorted(values[at].values(), reverse=True)
            assert values[at][best] in ranked[: len(ranked) // factor]
            promoted[at] += 1
            assert promoted[at] <= len(ranked) // factor
            rungs.promote(best)
            level[best] += 1
            if level[best] < 3:
                values[level[best]][best] = values[at][best]
                rungs.record(best, (1, 2, 4)[level[best]], values[at][best], int(best[1:]))
                rungs.pause(best, (1, 2, 4)[level[best]])
    assert len(values[0]) == len(arrivals)


def test_a_search_that_improves_does_not_promote_every_trial() -> None:
    rungs = Rungs([1], factor=3)
    continued = []
    for place in range(30):
        uid = f"t{place:02}"
        rungs.record(uid, 1, place / 100, place)
        rungs.pause(uid, 1)
        if (best := next(rungs.promotable(), None)) is not None:
            rungs.promote(best)
            continued.append(best)
    assert len(continued) == 10
    assert continued == [f"t{place:02}" for place in range(2, 30, 3)]


def test_what_continued_is_known_again_from_the_recorded_epochs() -> None:
    rungs = Rungs([1, 3], factor=2)
    for epoch in (1, 2):
        rungs.record("a", epoch, 0.9, 0)
    rungs.record("b", 1, 0.5, 1)
    rungs.pause("b", 1)
    assert rungs.rungs[0].continued == {"a"}
    assert list(rungs.promotable()) == []


def by_definition(rungs: Rungs) -> list[str]:
    """Returns the promotable trials, found by looking at all that are paused."""
    found, at = [], {}
    for uid, epoch in rungs.paused.items():
        at[uid] = max((rung.epoch for rung in rungs.rungs if rung.epoch <= epoch and uid in rung), default=0)
    for rung in reversed(rungs.rungs):
        quota = len(rung) // rungs.factor
        free = quota - sum(at.get(uid) != rung.epoch for uid in rung.continued)
        best = [uid for _, _, uid in rung.order[:quota] if at.get(uid) == rung.epoch]
        found += best[: max(0, free)]
    return found + [uid for uid, epoch in at.items() if epoch == 0]


@given(st.integers(2, 4), st.randoms(use_true_random=False))
def test_whatever_happened_the_promotable_trials_are_those_of_the_definition(factor: int, random: Random) -> None:
    rungs = Rungs([1, 3], factor)
    for place in range(40):
        uid, paused = f"t{place:02}", list(rungs.paused)
        what = random.choice(["arrive", "arrive", "again", "promote", "leave", "cut"])
        if what == "arrive":
            until = random.choice([1, 2, 3, 5])
            for epoch in range(random.choice([1, 1, 2]), until + 1):  # some have no value at the lowest rung
                rungs.record(uid, epoch, random.choice([0.1, 0.2, 0.3]), place)
            rungs.pause(uid, until)
        elif paused and what == "again":
            rungs.record(uid := random.choice(paused), 1, random.random(), int(uid[1:]))
            rungs.pause(uid, rungs.paused[uid])
        elif paused and what == "cut":
            rungs.cut(random.choice(paused), random.choice([None, 1, 3]))
        elif paused and what == "leave":
            rungs.leave(random.choice(paused))
        elif best := next(rungs.promotable(), None):
            until = rungs.next_after(rungs.paused[best])
            rungs.promote(best)
            if until is not None:
                rungs.record(best, until, random.random(), int(best[1:]))
                rungs.pause(best, until)
        assert list(rungs.promotable()) == by_definition(rungs)
