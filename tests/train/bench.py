"""A trainer whose networks can be looked at."""

from __future__ import annotations

from fer_tune.train.device_network import DeviceNetwork
from fer_tune.train.loop import Trainer
from fer_tune.train.network_plan import NetworkPlan


class Bench:
    """Builds a trainer, and keeps the networks that it builds.

    Args:
        parts: in how many parts each network computes its step; None leaves that to the trainer.
        capture: whether a GPU captures its steps.
    """

    def __init__(self, device: str = "cpu", *, parts: int | None = None, capture: bool = True) -> None:
        self.networks: list[DeviceNetwork] = []
        self._parts, self._capture = parts, capture
        self.trainer = Trainer(device, threads=1 if device == "cpu" else None, build=self._build)

    @property
    def network(self) -> DeviceNetwork:
        """The network that was built last."""
        return self.networks[-1]

    def _build(self, plan: NetworkPlan, parts: int) -> DeviceNetwork:
        self.networks.append(DeviceNetwork(plan, self._parts or parts, capture=self._capture))
        return self.network
