"""What a study has used of its devices so far, and how right its plan was."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fer_tune.selection.spending import Use, device_seconds
from fer_tune.study.attempt_spans import attempt_spans

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from fer_tune.store import Store
    from fer_tune.study import Study

PLAN, COMPARED = "plan", "plan_compared"
"""User attributes of a study: its last plan, and the plan beside what was needed."""

SETTLED = "settled"
"""Entry of a plan that was compared."""


class Spending:
    """Reads what the search of a study used, in all its runs.

    Args:
        note: is called with one line that the user should read.
    """

    def __init__(self, name: str, study: Study, store: Store, note: Callable[[str], object]) -> None:
        self._name, self._study, self._store, self._note = name, study, store, note

    def device_seconds(self) -> float:
        """Returns for how many seconds devices trained the study's trials."""
        spans = attempt_spans(self._store, self._name)
        return device_seconds(Use(one.worker, one.start, one.end) for one in spans if one.kind == "search")

    def so_far(self) -> dict[str, float]:
        """Returns the device-seconds and the number of started trials."""
        counts = self._study.counts()
        started = counts.finished + counts.paused + counts.running
        return {"device_seconds": self.device_seconds(), "started": started}

    def keep_plan(self, plan: dict[str, Any]) -> None:
        """Keeps a plan in the study, to be compared when its budget or its hours are used up."""
        self._study.keep(PLAN, plan)

    def compare(self, budget: Mapping[str, Any]) -> dict[str, Any] | None:
        """Returns and keeps the study's plan beside what was needed.

        A plan is compared once: it says nothing about what later runs add.

        Args:
            budget: that of the sweep which was run.

        Returns:
            None without a plan, or if it was for another budget.
        """
        plan = self._study.kept(PLAN)
        if plan is None or plan.get(SETTLED):
            return None
        if plan.get("budget", budget) != budget:
            self._note(f"{self._name}: the last plan was for another budget, so it is not compared with this run.")
            self._study.keep(PLAN, plan | {SETTLED: True})
            return None
        took = {name: value - plan["before"][name] for name, value in self.so_far().items()}
        found = {"expected": {name: plan[name] for name in took}, "took": took}
        self._study.keep(COMPARED, found)
        self._study.keep(PLAN, plan | {SETTLED: True})
        return found
