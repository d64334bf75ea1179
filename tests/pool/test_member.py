"""Which slots a pool offers while some of its workers start, or have not answered yet."""

from __future__ import annotations

import pytest

from fer_tune.pool import Slot, WorkerInfo
from fer_tune.pool import member as module
from fer_tune.pool.member import MemberPool, PoolMember
from fer_tune.pool.messages import Has, Ready, UseLanes


class Member(PoolMember):
    """A worker without a process. What is sent to it gets lost."""

    @property
    def info(self) -> WorkerInfo:
        return WorkerInfo(self.index, "cuda:0", None, lanes=self.lanes)

    def send(self, message: object) -> None:
        pass

    def kill(self, why: str) -> None:
        raise AssertionError("nobody is killed")


class Members(MemberPool[Member]):
    """Two workers."""

    def __init__(self) -> None:
        self._workers = [Member(0), Member(1)]


def get_ready(member: Member, lanes: int) -> None:
    member.use_lanes(UseLanes(lanes, None))
    member.event(Ready())
    member.event(Has(lanes))


def test_a_worker_that_is_ready_first_leaves_jobs_to_the_others() -> None:
    pool = Members()
    get_ready(pool._workers[0], 3)
    assert pool.idle() == [Slot(0, 0)]
    get_ready(pool._workers[1], 2)
    assert pool.idle() == [Slot(0, 0), Slot(1, 0), Slot(0, 1), Slot(1, 1), Slot(0, 2)]


def test_it_does_not_wait_for_one_that_starts_slowly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TOGETHER", 0.0)
    pool = Members()
    get_ready(pool._workers[0], 3)
    assert pool.idle() == [Slot(0, 0), Slot(0, 1), Slot(0, 2)]


def test_it_does_not_wait_for_one_that_died() -> None:
    pool = Members()
    get_ready(pool._workers[0], 2)
    pool._workers[1].loss("it was killed", "")
    assert pool.idle() == [Slot(0, 0), Slot(0, 1)]


@pytest.mark.parametrize("given", [1, 2])
def test_an_answer_to_an_earlier_number_opens_no_more_lanes_than_were_asked_for_since(given: int) -> None:
    member = Member(0)
    get_ready(member, 3)
    member.use_lanes(UseLanes(4, None))
    member.use_lanes(UseLanes(given, None))
    assert member.lanes == given
    member.event(Has(4))
    assert member.lanes == given
    member.event(Has(1))
    assert member.lanes == 1
