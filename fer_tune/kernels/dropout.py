"""The factors of a dropout in one pass, for CUDA devices with Triton.

In torch's operations these are three small kernels for each layer and step, and the numbers are
written three times. `formulas.dropout_factors` is the same in torch's operations. CPUs run it, and
a test on a GPU compares both bit by bit.
"""

from __future__ import annotations

import triton
import triton.language as tl
from torch import Tensor

BLOCK = 1024


@triton.jit  # type: ignore[untyped-decorator]
def _factors(drawn, rate_at, total, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    keep = 1 - tl.load(rate_at)
    kept = (tl.load(drawn + at, mask=at < total, other=0.0) < keep).to(tl.float32)
    tl.store(drawn + at, tl.div_rn(kept, keep), mask=at < total)  # `/` would not round as torch does


def dropout_factors(drawn: Tensor, rate: Tensor) -> Tensor:
    """Returns 0 or 1 / (1 - rate) for each number drawn, written over it.

    Args:
        drawn: float32 [N, C], contiguous, uniform in 0..1. It is written.
        rate: float32 scalar in device memory, below 1.
    """
    total = drawn.numel()
    _factors[(triton.cdiv(total, BLOCK),)](drawn, rate, total, BLOCK=BLOCK)
    return drawn
