"""Credentials that will expire are told of in time, once."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from tests.unit.core.build import NOW
from tests.unit.core.test_integrations import world

from towline.core.times import moment, text


def expiring(after: timedelta) -> Any:
    made = world()
    made.secret = replace(made.secret, expires_at=text(NOW + after))
    made.settle()
    made.finish(made.created[0])
    return made


def warnings(made: Any) -> list[str]:
    return [event.reason for event in made.events if event.type == "Warning"]


def test_two_weeks_before_there_is_a_warning_and_then_one_on_the_day() -> None:
    made = expiring(timedelta(days=20))
    again = made.settle()
    assert made.integration["status"]["credentials"]["expiresAt"] == text(NOW + timedelta(days=20))
    assert (made.condition("CredentialsValid")["reason"], warnings(made)) == ("Accepted", [])
    assert again is not None
    assert again <= NOW + timedelta(days=6)
    made.integration["spec"]["suspend"] = True
    made.pass_time(days=7)
    made.settle()
    made.settle()
    found = made.condition("CredentialsValid")
    assert (found["status"], found["reason"], warnings(made)) == ("True", "ExpiresSoon", ["CredentialsExpiresSoon"])
    assert moment(found["lastTransitionTime"]) < NOW + timedelta(days=1), "still accepted: no transition"
    made.pass_time(days=14)
    made.settle()
    assert made.condition("CredentialsValid")["reason"] == "Expired"
    assert warnings(made) == ["CredentialsExpiresSoon", "CredentialsExpired"]
    assert made.ready()[0] == "True", "whether they are accepted is for the system to say"


def test_a_secret_that_does_not_say_when_is_never_warned_of() -> None:
    made = world()
    made.secret = replace(made.secret, expires_at="some day")
    made.settle()
    assert "expiresAt" not in made.integration["status"].get("credentials", {})


def test_without_any_sync_the_condition_is_unknown_and_says_it_all_the_same() -> None:
    made = world(schedule=None)
    made.secret = replace(made.secret, expires_at=text(NOW - timedelta(days=1)))
    made.settle()
    found = made.condition("CredentialsValid")
    assert (found["status"], found["reason"]) == ("Unknown", "Expired")
    assert isinstance(moment(found["lastTransitionTime"]), datetime)
    made.secret = replace(made.secret, expires_at=text(NOW + timedelta(days=90)))
    made.settle()
    assert made.condition("CredentialsValid")["reason"] == "", "the date was corrected"
