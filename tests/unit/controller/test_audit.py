"""The operator's lines of activity, and the checks that wait for a run to record them."""

from __future__ import annotations

import json
import logging
from datetime import timedelta

import pytest
from tests.unit.core.build import NOW

from towline.api.conditions import Reason
from towline.api.integrationstatus import ChecksStatus
from towline.controller.audit import Audit
from towline.controller.queue import Key
from towline.core import checks
from towline.core.health import Probed

KEY = Key("Integration", "secops", "prod")


def probed(minutes: int, reason: Reason = Reason.REACHABLE) -> Probed:
    return Probed(NOW + timedelta(minutes=minutes), reason, "" if reason is Reason.REACHABLE else "401")


def told(audit: Audit) -> list[tuple[str, int]]:
    return [(one.outcome, one.count) for one in audit.ledger(KEY, "u-1", None).streaks]


def test_only_a_change_of_outcome_is_news_for_the_status() -> None:
    audit = Audit()
    outcomes = [Reason.REACHABLE] * 3 + [Reason.CREDENTIALS_REJECTED] + [Reason.REACHABLE] * 2
    news = [audit.checked(KEY, "u-1", "tenable-io", probed(minute, reason)) for minute, reason in enumerate(outcomes)]
    assert news == [True, False, False, True, True, False]
    assert told(audit) == [("Reachable", 3), ("CredentialsRejected", 1), ("Reachable", 2)]


def test_an_operator_that_starts_goes_on_with_what_the_status_says() -> None:
    before = Audit()
    for minute, reason in enumerate([Reason.REACHABLE, Reason.REACHABLE, Reason.CREDENTIALS_REJECTED]):
        before.checked(KEY, "u-1", "tenable-io", probed(minute, reason))
    status = ChecksStatus.model_validate(checks.status(before.ledger(KEY, "u-1", None)))
    audit = Audit()
    audit.ledger(KEY, "u-1", status)
    assert not audit.checked(KEY, "u-1", "tenable-io", probed(9, Reason.CREDENTIALS_REJECTED))
    assert told(audit) == [("Reachable", 2), ("CredentialsRejected", 1), ("CredentialsRejected", 1)]
    assert audit.ledger(KEY, "u-2", None).streaks == (), "another Integration of the same name"


def test_each_check_is_a_line_of_json(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "towline.audit"):
        Audit().checked(KEY, "u-1", "tenable-io", probed(0, Reason.CREDENTIALS_REJECTED))
    (line,) = [json.loads(record.getMessage()) for record in caplog.records]
    assert line["activity"] == "Check"
    assert (line["integration"], line["connector"], line["outcome"]) == (
        "secops/prod", "tenable-io", "CredentialsRejected",
    )  # fmt: skip
