"""Credentials that will expire are told of in time, once."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from tests.unit.core.build import NOW
from tests.unit.core.test_integrations import world

from towline.api.conditions import Reason
from towline.api.integrationstatus import HealthStatus
from towline.core import health
from towline.core.expiry import WARN, Expiry, What
from towline.core.health import Probed, Track
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


def probed(*expiries: Expiry, at: datetime = NOW) -> Track:
    track = Track()
    for _ in range(2):
        track = health.observe(track, Probed(at, Reason.REACHABLE, seconds=0.05, expiries=expiries))
    return track


def test_a_certificate_of_the_system_is_warned_of_while_it_is_well_and_forgotten_once_renewed() -> None:
    made = world()
    made.settle()
    made.finish(made.created[0])
    soon = Expiry(What.CERTIFICATE, NOW + timedelta(days=10), "The certificate of api.acme.example", cure="Renew it")
    made.health = probed(soon, at=NOW + timedelta(minutes=1))
    made.settle()
    found = made.condition("Healthy")
    assert (found["status"], found["reason"]) == ("True", "CertificateExpiresSoon")
    assert "The certificate of api.acme.example expires at" in found["message"]
    assert warnings(made) == ["CertificateExpiresSoon"]
    assert made.integration["status"]["health"]["certificateExpiresAt"] == text(soon.at)
    before = made.writes
    made.health = health.remembered(HealthStatus.model_validate(made.integration["status"]["health"]))
    made.settle()
    assert made.writes == before, "a restart writes nothing"
    made.health = probed(replace(soon, at=NOW + timedelta(days=90)), at=NOW + timedelta(minutes=2))
    made.settle()
    assert made.condition("Healthy")["reason"] == "Reachable"
    assert warnings(made) == ["CertificateExpiresSoon"]


def test_of_the_secrets_annotation_and_what_it_holds_the_first_end_counts() -> None:
    made = world()
    made.secret = replace(made.secret, expires_at=text(NOW + timedelta(days=60)))
    made.settle()
    made.finish(made.created[0])
    made.health = probed(Expiry(What.CREDENTIALS, NOW + timedelta(days=5), 'The credential "token"'))
    made.settle()
    assert made.integration["status"]["credentials"]["expiresAt"] == text(NOW + timedelta(days=5))
    assert made.condition("CredentialsValid")["message"].startswith('The credential "token" expires at')
    assert warnings(made) == ["CredentialsExpiresSoon"]


def test_what_lives_short_is_warned_of_late() -> None:
    hour = Expiry(What.CREDENTIALS, NOW + timedelta(hours=1), "It", begins=NOW)
    assert hour.warn_at == NOW + timedelta(minutes=45)
    year = Expiry(What.CREDENTIALS, NOW + timedelta(days=365), "It", begins=NOW)
    assert year.warn_at == year.at - WARN
    assert Expiry(What.CREDENTIALS, NOW, "It").warn_at == NOW - WARN
