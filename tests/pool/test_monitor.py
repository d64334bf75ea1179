"""Tests of memory and load: of real processes, and of processes and GPUs that do not exist."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest

from fer_tune.pool import WorkerInfo
from fer_tune.pool.monitor import Gauge, Monitor


def test_a_process_that_works_and_one_that_is_gone() -> None:
    busy = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        with Monitor(every=0.2) as gauges:
            gauges.follow(WorkerInfo(0, "cpu", busy.pid))
            gauges.follow(WorkerInfo(1, "cpu", None))  # inline: this process
            until = time.monotonic() + 20
            while (gauges.get(0).load or 0.0) < 0.2 and time.monotonic() < until:
                time.sleep(0.05)
            seen = gauges.get(0)
            assert seen.load is not None
            assert 0.2 <= seen.load < 2
            assert seen.used is not None
            assert 2**20 < seen.used < 2**30
            assert (gauges.get(1).used or 0) > seen.used
            busy.kill()
            busy.wait()
            gauges.look()
            assert gauges.get(0) == Gauge()
            gauges.follow(WorkerInfo(0, "cpu", os.getpid()))  # another process under the same index
            gauges.look()
            assert gauges.get(0).used
    finally:
        busy.kill()
        busy.wait()


def test_a_gpu_that_is_not_there_and_a_worker_nobody_follows() -> None:
    gauges = Monitor()
    gauges.follow(WorkerInfo(0, "cuda:99", 1))
    gauges.look()
    assert gauges.get(0) == gauges.get(7) == Gauge()


@pytest.mark.gpu
def test_a_gpu_that_works() -> None:
    import torch

    gauges = Monitor()
    gauges.follow(WorkerInfo(0, "cuda:0", os.getpid()))
    gauges.look()
    before = gauges.get(0)
    matrix = torch.ones(8192, 8192, device="cuda")
    until = time.monotonic() + 2
    while time.monotonic() < until:
        matrix @ matrix
        torch.cuda.synchronize()
    gauges.look()
    after = gauges.get(0)
    assert before.used is not None
    assert after.used is not None
    assert after.used - before.used >= matrix.nbytes
    assert after.total == pytest.approx(torch.cuda.get_device_properties(0).total_memory, rel=0.05)
    assert (after.load or 0) > 0.2
