"""Ends a study when further trials are expected to gain too little: `budget.patience`.

The rule: the study ends as soon as the expected gain of the next `budget.patience` trials is below
one standard error of the best value. `selection.gain` says what the expected gain is. The standard
error is that of an accuracy p on n validation images, sqrt(p (1 - p) / n). A difference that is
smaller than this cannot be measured.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from fer_tune.selection.gain import RECENT, expected_gain
from fer_tune.selection.statistics import standard_error

if TYPE_CHECKING:
    from fer_tune.store import StudyRecord
    from fer_tune.study import Study
    from fer_tune.sweep.schema import Sweep


class PatienceRule:
    """Asks after each trial whether a study should go through more of them.

    Args:
        note: is called with one line that says why the study ends.
    """

    def __init__(self, sweep: Sweep, study: Study, record: StudyRecord, note: Callable[[str], object]) -> None:
        self._trials, self._name = sweep.budget.patience, sweep.study
        if self._trials is not None:
            import scipy.special  # noqa: F401 - now, and not while slots wait for a job
        self._study, self._note = study, note
        self._images = record.split.counts.get("val", 0)
        self._asked = 0
        self._over = False

    def is_over(self) -> bool:
        """Returns whether no further trial should start. Once it is, it stays so."""
        if self._trials is None or self._over:
            return self._over
        counts = self._study.counts()
        ended = counts.finished + counts.paused
        if ended == self._asked or counts.complete < 2 or ended < RECENT:
            return False
        self._asked = ended
        curves = self._study.curves()
        best = max(curve[max(curve)] for curve in curves if max(curve) == self._study.sweep.budget.epochs)
        gain, error = expected_gain(curves, best, self._trials), standard_error(best, self._images) or 0.0
        self._over = gain < error
        if self._over:
            following = "trial is" if self._trials == 1 else f"{self._trials} trials are"
            self._note(
                f"{self._name}: the next {following} expected to gain {100 * gain:.2f} points on the best value of "
                f"{100 * best:.2f} %. Its standard error is {100 * error:.2f} points. So the study ends "
                "(budget.patience)."
            )
        return self._over
