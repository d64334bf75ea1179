"""When a capture gives memory of the device back that torch does not use. No GPU is needed."""

import pytest
import torch

from fer_tune.train import cuda_graphs

GIB = 2**30


@pytest.mark.parametrize(
    ("reserved", "used", "free", "gives_back"),
    [
        (4, 3, 60, False),
        (6, 5, 0.5, True),  # another network may not fit
        (1.5, 0.6, 60, False),
        (2, 0.6, 60, True),  # more than 1 GiB and more than is used
        (20, 12, 50, False),
        (25, 12, 50, True),
    ],
)
def test_unused_memory_is_given_back_if_it_is_much(
    monkeypatch: pytest.MonkeyPatch, reserved: float, used: float, free: float, gives_back: bool
) -> None:
    for name, size in (("memory_reserved", reserved), ("memory_allocated", used)):
        monkeypatch.setattr(torch.cuda, name, lambda device, size=size: int(size * GIB))
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (int(free * GIB), 80 * GIB))
    assert cuda_graphs.holds_much(torch.device("cuda:0")) == gives_back
