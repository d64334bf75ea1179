"""`--set key=value`: changes to a sweep from the command line."""

from __future__ import annotations

from collections.abc import Sequence

from fer_tune.models import FAMILIES
from fer_tune.sweep.catalogue import Catalogue, catalogue
from fer_tune.sweep.error_messages import unknown
from fer_tune.sweep.schema import Header
from fer_tune.sweep.yaml_nodes import Node, Problems, parse

LITERAL = ("study", "family", "data")
"""Fields whose value is text as it stands, such as a path with a colon."""


def override(root: Node, assignments: Sequence[str], problems: Problems) -> set[str]:
    """Writes `key=value` assignments into the tree of a sweep.

    A key is a dotted path (`budget.trials`, `params.lr.low`, `start.0.lr`) or begins with a hyperparameter
    (`lr` is `params.lr`). A value is YAML; `null` takes an entry out, which gives a hyperparameter its default.

    Returns:
        The hyperparameters that were changed.
    """
    changed: set[str] = set()
    for assignment in assignments:
        key, sign, text = assignment.partition("=")
        origin = f"--set {assignment}" if len(assignment) <= 60 else f"--set {assignment[:57]}..."
        steps = key.strip().split(".")
        value = Node(text, 0, origin) if steps == [key] and key in LITERAL else parse(text, problems, origin)
        known = _known(root)
        if not sign:
            problems.add(value, "", "must be key=value, such as lr=0.01 or budget.trials=20")
        elif steps[0] in known:
            steps = ["params", *steps]
        elif steps[0] not in Header.model_fields:
            problems.add(value, steps[0], unknown("key", steps[0], [*Header.model_fields, *known]))
            continue
        if steps[0] == "params" and len(steps) == 2 and value.value is None and steps[1] in known:
            value.value = known[steps[1]].default
        if sign and _write(root, steps, value, problems) and steps[0] == "params":
            changed.update(steps[1:2] or known)
    return changed


def _known(root: Node) -> Catalogue:
    """The hyperparameters of the sweep's family, or of all families while that is unclear."""
    family = root.entries.get("family")
    names = [family.value] if family is not None and family.value in FAMILIES else list(FAMILIES)
    return {key: hyper for name in names for key, hyper in catalogue(str(name)).items()}


def _write(root: Node, steps: list[str], value: Node, problems: Problems) -> bool:
    node = root
    for position, step in enumerate(steps):
        last = position == len(steps) - 1
        if isinstance(node.value, list) and step.isdecimal() and int(step) < len(node.value):
            if last:
                node.value[int(step)] = value
            node = node.value[int(step)]
        elif isinstance(node.value, list):
            problems.add(value, ".".join(steps[:position]), f"has entries 0 to {len(node.value) - 1}, and no {step}")
            return False
        else:
            entries = node.value = node.value if isinstance(node.value, dict) else {}
            if last and value.value is None:
                entries.pop(step, None)
            elif last:
                entries[step] = value
            else:
                node = entries.setdefault(step, Node({}, 0, value.origin))
    return True
