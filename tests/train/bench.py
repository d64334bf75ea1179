"""A trainer whose engines can be looked at."""

from __future__ import annotations

from fer_tune.train.engine import Engine
from fer_tune.train.engine_plan import EnginePlan
from fer_tune.train.loop import Trainer


class Bench:
    """Builds a trainer, and keeps the engines that it builds.

    Args:
        parts: in how many parts each engine computes its step; None leaves that to the trainer.
        capture: whether a GPU captures its steps.
    """

    def __init__(self, device: str = "cpu", *, parts: int | None = None, capture: bool = True) -> None:
        self.engines: list[Engine] = []
        self._parts, self._capture = parts, capture
        self.trainer = Trainer(device, threads=1 if device == "cpu" else None, build=self._build)

    @property
    def engine(self) -> Engine:
        """The engine that was built last."""
        return self.engines[-1]

    def _build(self, plan: EnginePlan, parts: int) -> Engine:
        self.engines.append(Engine(plan, self._parts or parts, capture=self._capture))
        return self.engine
