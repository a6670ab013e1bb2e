"""Who leads: decisions about the Lease, and a leader that cannot renew."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from towline.controller.leader import Election, Elector
from towline.kube.access import Access
from towline.kube.lease import Seen, Timing, look, record


def lease(version: str, holder: str = "other", epoch: int = 4) -> dict[str, Any]:
    spec = {"holderIdentity": holder, "leaseDurationSeconds": 15, "leaseTransitions": epoch}
    return {"metadata": {"resourceVersion": version}, "spec": spec}


def test_a_lease_runs_out_by_the_own_clock_and_not_by_what_it_says() -> None:
    seen = look(Seen(), lease("1"), now=100)
    assert not seen.free(now=114.9)
    seen = look(seen, lease("1"), now=110)
    assert seen.since == 100, "nothing has changed since"
    assert seen.free(now=115.1)
    assert not look(seen, lease("2"), now=115.1).free(now=130), "it was renewed at the last moment"


def test_a_lease_that_was_given_back_is_free_at_once() -> None:
    assert look(Seen(), lease("1", holder=""), now=0).free(now=0)


def test_each_new_leader_has_a_higher_epoch_and_a_renewal_keeps_it() -> None:
    seen = look(Seen(), lease("1", holder="other", epoch=4), now=0)
    assert record("me", seen, Timing())["leaseTransitions"] == 5
    assert "acquireTime" in record("me", seen, Timing())
    assert record("other", seen, Timing())["leaseTransitions"] == 4
    assert "acquireTime" not in record("other", seen, Timing())


@pytest.fixture
def nobody_listens() -> Iterator[Access]:
    import socket

    with socket.socket() as taken:  # bound and not listening: connections are refused, and nobody else gets the port
        taken.bind(("127.0.0.1", 0))
        yield Access(f"http://127.0.0.1:{taken.getsockname()[1]}")


@pytest.mark.parametrize(
    ("lag", "held_for", "why"), [(0.0, 1.1, "could not be renewed"), (9.0, 0.0, "event loop is held up")]
)
def test_a_leader_that_cannot_renew_or_is_held_up_ends_its_process(
    nobody_listens: Access, caplog: pytest.LogCaptureFixture, lag: float, held_for: float, why: str
) -> None:
    died = threading.Event()
    election = Election("me", timing=Timing(1.5, 1.0, 0.2))
    elector = Elector(election, nobody_listens, lambda: None, lag=lambda: lag, die=lambda _: died.set())
    elector._held_at = elector._clock() - held_for  # as if it had led until the API server went away
    elector.start()
    assert died.wait(60)
    assert not elector.leading
    elector.stop()
    assert why in caplog.text


def test_a_lease_that_ran_out_while_the_process_slept_is_no_fence(nobody_listens: Access) -> None:
    now = [0.0]
    elector = Elector(Election("me"), nobody_listens, lambda: None, clock=lambda: now[0])
    assert not elector.leading
    elector._renewed(0.0, 3)
    now[0] = 14.9
    assert elector.leading
    now[0] = 40.0
    assert not elector.leading
