"""Tests of a Ray cluster that loses nodes and gets others."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks.loopback import loopback_only
from fer_tune.errors import SettingsError
from fer_tune.pool import ReadyEvent, ray_pool
from fer_tune.pool.engines import engine as engine_of
from tests.studies import uid_of

from .conftest import job, listen, start
from .test_ray import lost, rows
from .trainers import obedient

pytestmark = pytest.mark.slow


@pytest.fixture
def cluster() -> Iterator[Any]:
    ray = pytest.importorskip("ray", reason="Ray is not installed: pip install 'fer-tune[ray]'")
    from ray.cluster_utils import Cluster

    with loopback_only() as reason:
        if reason:
            pytest.skip(reason)
        cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
        yield cluster
        ray.shutdown()
        cluster.shutdown()


def test_workers_join_and_die_with_their_nodes(cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_pool, "GROW_SECONDS", 0.2)
    node = cluster.add_node(num_cpus=2)
    pool = engine_of("ray", cluster.address).open("cpu", "auto", tmp_path / "logs", obedient)
    try:
        start(pool, 60)
        assert len(pool.workers) == 1
        other = cluster.add_node(num_cpus=4)
        listen(pool, lambda events: sum(isinstance(event, ReadyEvent) for event in events) == 2, 60)
        assert [worker.index for worker in pool.workers] == [0, 1, 2]
        for slot in pool.idle():
            pool.submit(slot, job(slot.worker, epochs=10_000, seconds=0.05))
        listen(pool, lambda events: all(rows(events, number) for number in range(3)))
        cluster.remove_node(other, allow_graceful=False)
        began = time.monotonic()
        gone = lost(listen(pool, lambda events: len(lost(events)) == 2, 60))
        assert time.monotonic() - began < 30
        assert {event.worker for event in gone} == {1, 2}
        assert all("lost" in event.reason or "node" in event.reason for event in gone)
        assert {one.uid for event in gone for one in event.jobs} == {uid_of(1), uid_of(2)}
        assert rows(listen(pool, lambda events: rows(events, 0)), 0), "the other node was disturbed"
        cluster.add_node(num_cpus=4)
        listen(pool, lambda events: sum(isinstance(event, ReadyEvent) for event in events) == 2, 60)
        assert node in cluster.list_all_nodes()
    finally:
        pool.close()


def test_a_cluster_without_gpus_says_so(cluster: Any) -> None:
    with pytest.raises(SettingsError, match="no GPU"):
        engine_of("ray", cluster.address).devices("cuda", "auto")
