"""Ensembles of trees that answer for one configuration in half a millisecond.

scikit-learn grows them. It needs 5 to 50 ms for one row, and a simulated study asks for hundreds of
single rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.search.curves import Floats

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Trees:
    """The sum of many trees, each with several outputs.

    Attributes:
        roots: the first node of each tree.
        feature: the column that a node looks at; -2 in a leaf, as scikit-learn has it.
        threshold: a row goes left if its value is at most this.
        left, right: the nodes below a node.
        value: [nodes, outputs], already weighted.
        offset: [outputs], added to the sum.
    """

    roots: Ints
    feature: Ints
    threshold: Floats
    left: Ints
    right: Ints
    value: Floats
    offset: Floats

    def predict(self, rows: Floats) -> Floats:
        """Returns the outputs [rows, outputs]."""
        found = np.empty((len(rows), len(self.offset)))
        for index, row in enumerate(rows.astype(np.float32)):
            nodes = self.roots
            while True:
                feature = self.feature[nodes]
                inner = feature >= 0
                if not inner.any():
                    break
                below = np.where(row[feature] <= self.threshold[nodes], self.left[nodes], self.right[nodes])
                nodes = np.where(inner, below, nodes)
            found[index] = self.value[nodes].sum(axis=0)
        return found + self.offset


def extra_trees(rows: Floats, targets: Floats, trees: int = 200, leaf: int = 2) -> Trees:
    """Returns extremely randomised trees, grown on targets [rows, outputs]."""
    from sklearn.ensemble import ExtraTreesRegressor  # the rivals' environments may lack it

    grown = ExtraTreesRegressor(trees, min_samples_leaf=leaf, max_features=0.6, random_state=0)
    grown.fit(rows, targets if targets.shape[1] > 1 else targets[:, 0])
    weighted = [(tree.tree_, tree.tree_.value[:, :, 0] / trees) for tree in grown.estimators_]
    return _joined(weighted, np.zeros(targets.shape[1]))


def boosted_trees(rows: Floats, targets: Floats, trees: int = 400, rate: float = 0.05) -> Trees:
    """Returns gradient boosting, an ensemble for each column of targets [rows, outputs]."""
    from sklearn.ensemble import GradientBoostingRegressor

    weighted: list[tuple[Any, Floats]] = []
    outputs = targets.shape[1]
    for output in range(outputs):
        grown = GradientBoostingRegressor(
            n_estimators=trees, learning_rate=rate, max_depth=2, subsample=0.6, max_features=0.2, random_state=0
        )
        grown.fit(rows, targets[:, output])
        for tree in grown.estimators_[:, 0]:
            value = np.zeros((tree.tree_.node_count, outputs))
            value[:, output] = rate * tree.tree_.value[:, 0, 0]
            weighted.append((tree.tree_, value))
    return _joined(weighted, targets.mean(axis=0))


def _joined(trees: Sequence[tuple[Any, Floats]], offset: Floats) -> Trees:
    """Returns trees of scikit-learn, with their weighted values, as one `Trees`."""
    starts = np.cumsum([0, *(tree.node_count for tree, _ in trees)])[:-1]
    return Trees(
        roots=np.asarray(starts, dtype=np.int64),
        feature=np.concatenate([tree.feature for tree, _ in trees]).astype(np.int64),
        threshold=np.concatenate([tree.threshold for tree, _ in trees]),
        left=np.concatenate([tree.children_left + start for (tree, _), start in zip(trees, starts, strict=True)]),
        right=np.concatenate([tree.children_right + start for (tree, _), start in zip(trees, starts, strict=True)]),
        value=np.concatenate([value for _, value in trees]),
        offset=offset,
    )
