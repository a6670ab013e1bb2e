"""The operator's lines of activity, and the checks that wait for a run to record them."""

from __future__ import annotations

import json
import logging
from datetime import timedelta

import pytest
from tests.unit.core.build import NOW

from towline.api.conditions import Reason
from towline.controller.audit import Audit
from towline.controller.queue import Key
from towline.core.health import Probed

KEY = Key("Integration", "secops", "prod")


def probed(minutes: int, reason: Reason = Reason.REACHABLE) -> Probed:
    return Probed(NOW + timedelta(minutes=minutes), reason, "" if reason is Reason.REACHABLE else "401")


def test_checks_with_one_outcome_are_one_record_with_their_number() -> None:
    audit = Audit()
    outcomes = [Reason.REACHABLE] * 3 + [Reason.CREDENTIALS_REJECTED] + [Reason.REACHABLE] * 2
    for minute, reason in enumerate(outcomes):
        audit.checked(KEY, "u-1", "tenable-io", probed(minute, reason))
    told = audit.checks(KEY, "u-1")
    assert [(one.outcome, one.calls) for one in told] == [
        ("Reachable", 3), ("CredentialsRejected", 1), ("Reachable", 2),
    ]  # fmt: skip
    assert len({one.id for one in told}) == 3
    audit.handed_over(KEY)
    assert audit.checks(KEY, "u-1") == []


def test_each_check_is_a_line_of_json(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "towline.audit"):
        Audit().checked(KEY, "u-1", "tenable-io", probed(0, Reason.CREDENTIALS_REJECTED))
    (line,) = [json.loads(record.getMessage()) for record in caplog.records]
    assert line["activity"] == "Check"
    assert (line["integration"], line["connector"], line["outcome"]) == (
        "secops/prod", "tenable-io", "CredentialsRejected",
    )  # fmt: skip


def test_an_integration_that_flaps_does_not_fill_the_memory() -> None:
    audit = Audit()
    for minute in range(1000):
        reason = Reason.REACHABLE if minute % 2 else Reason.UNREACHABLE
        audit.checked(KEY, "u-1", "tenable-io", probed(minute, reason))
    assert len(audit.checks(KEY, "u-1")) == 4
