"""Hysteresis of probes, and what a status says of them."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.core.build import NOW
from tests.unit.core.test_integrations import world

from towline.api.conditions import Reason
from towline.api.integrationstatus import HealthStatus
from towline.core import health
from towline.core.health import Probed, State, Track, observe

EVERY = timedelta(minutes=5)


def probed(ok: bool, seconds: float = 0.05, minute: int = 0, reason: Reason = Reason.UNREACHABLE) -> Probed:
    at = NOW + timedelta(minutes=minute)
    return Probed(at, Reason.REACHABLE, "", seconds) if ok else Probed(at, reason, "api.acme.example is away", 10)


def after(pattern: str, track: Track | None = None) -> Track:
    """The track after probes: `+` is a good one, `-` a failure, one a minute."""
    found = track or Track()
    for minute, sign in enumerate(pattern):
        found = observe(found, probed(sign == "+", minute=minute))
    return found


@pytest.mark.parametrize(
    ("pattern", "state"),
    [
        ("+", State.HEALTHY),
        ("-", State.UNKNOWN),
        ("---", State.DOWN),
        ("+++-+++", State.HEALTHY),
        ("++--", State.DEGRADED),
        ("+-+-+-+-", State.DEGRADED),
        ("++---", State.DOWN),
        ("++---+", State.DOWN),
        ("++---++", State.HEALTHY),
        ("++---+++", State.HEALTHY),
        ("++--++++", State.HEALTHY),
    ],
)
def test_a_state_changes_only_when_several_probes_say_so(pattern: str, state: State) -> None:
    assert after(pattern).state is state


@given(st.text("+-", max_size=40))
def test_what_the_status_says_changes_only_with_the_state(pattern: str) -> None:
    track = Track()
    for minute, sign in enumerate(pattern):
        before = track
        track = observe(track, probed(sign == "+", seconds=0.01 * minute, minute=minute))
        if track.state is before.state:
            assert health.status(track) == health.status(before)


def test_a_system_that_rejects_credentials_is_up() -> None:
    track = observe(Track(), probed(False, reason=Reason.CREDENTIALS_REJECTED))
    assert track.state is State.HEALTHY
    assert track.rejected
    assert not observe(track, probed(True)).rejected


def test_a_restart_is_no_transition_and_no_burst() -> None:
    track = after("++---")
    told = health.status(track)
    assert told is not None
    back = health.remembered(HealthStatus.model_validate(told))
    assert health.status(back) == told
    due = [health.next_probe(back, EVERY, timedelta(seconds=number), NOW) for number in range(300)]
    assert len(set(due)) == 300, "each Integration has its own second"
    assert all(NOW < moment <= NOW + EVERY for moment in due)


def test_a_failure_is_confirmed_soon_and_a_dead_system_is_not_hammered() -> None:
    soon = NOW + timedelta(seconds=health.CONFIRM_SECONDS)
    assert health.next_probe(after("+-"), EVERY, timedelta(), NOW) == soon
    assert health.next_probe(after("+---"), EVERY, timedelta(), NOW) > soon
    assert health.next_probe(after("+---+"), EVERY, timedelta(), NOW) == soon


def test_a_probe_that_is_newer_than_the_last_run_decides_about_healthy() -> None:
    made = world()
    made.settle()
    made.finish(made.created[0])
    made.pass_time(minutes=10)
    made.health = after("+---")
    made.settle()
    assert made.condition("Healthy")["reason"] == "Unreachable", "the run ended before the probes"
    assert made.integration["status"]["health"]["state"] == "Down"
    assert made.ready() == ("True", "Synced"), "a system that is away for a while is no reason for an alarm"
    writes = made.writes
    made.health = observe(made.health, probed(False, minute=9))
    made.settle()
    assert made.writes == writes, "one more failed probe writes nothing"


def test_credentials_that_a_probe_found_rejected_are_told() -> None:
    made = world()
    made.settle()
    made.health = observe(Track(), probed(False, minute=1, reason=Reason.CREDENTIALS_REJECTED))
    made.settle()
    assert made.condition("CredentialsValid")["reason"] == "Rejected"
    made.health = observe(made.health, probed(True, minute=2))
    made.settle()
    assert made.condition("CredentialsValid")["reason"] == "Accepted"
