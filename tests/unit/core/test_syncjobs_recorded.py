"""What a SyncJob's status says of the record of activity: what is certain, and nothing else."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from tests.unit.core.build import result
from tests.unit.core.test_syncjobs import JOB, RUNNING, decide

from towline.contract import EXIT_CODES, RunResult
from towline.core import actions as act
from towline.core.pods import PodFacts

UNTIL = "2026-11-21T08:00:00Z"


def told(found: RunResult | None, attempt: int = 1, earlier: str = "", **spec: Any) -> tuple[str | None, str | None]:
    code, message = (int(EXIT_CODES[found.reason]), found.model_dump_json()) if found else (137, "")
    pod = PodFacts("p", "p-1", "Failed", exit_code=code, message=message)
    status = {**RUNNING, "attempts": attempt, **({"activityRecorded": earlier} if earlier else {})}
    decision = decide(status, spec, jobs={attempt: replace(JOB, ends_until=UNTIL)}, pods={attempt: pod})
    written = next(action for action in decision.actions if isinstance(action, act.PatchStatus)).status
    return written.get("activityRecorded"), written.get("endsRecordedUntil")


HOSTS = [{"name": "hosts"}]


@pytest.mark.parametrize("reason", ["Completed", "CredentialsRejected", "Unreachable", "Superseded"])
def test_a_result_that_names_streams_comes_from_a_pod_that_recorded_what_was_before_it(reason: str) -> None:
    assert told(result(reason, streams=HOSTS)) == ("Before", UNTIL)


@pytest.mark.parametrize("reason", ["DestinationUnavailable", "KeyMissing"])
def test_a_result_without_streams_comes_from_a_pod_that_recorded_nothing(reason: str) -> None:
    assert told(result(reason)) == ("Nothing", None)


def test_what_a_pod_recorded_that_died_or_failed_by_a_bug_is_unknown() -> None:
    assert told(None) == ("Unknown", None)
    assert told(result("ConnectorBug")) == ("Unknown", None)


@pytest.mark.parametrize(
    ("earlier", "found", "expected"),
    [
        ("Nothing", result("DestinationUnavailable", attempt=2), ("Nothing", None)),
        ("Unknown", result("DestinationUnavailable", attempt=2), ("Unknown", None)),
        ("", result("DestinationUnavailable", attempt=2), ("Unknown", None)),
        ("Nothing", None, ("Unknown", None)),
        ("Before", result("DestinationUnavailable", attempt=2), ("Before", None)),
        ("Before", None, ("Before", None)),
        ("Unknown", result("Unreachable", attempt=2, streams=HOSTS), ("Before", UNTIL)),
    ],
)
def test_attempts_add_up(earlier: str, found: RunResult | None, expected: tuple[str, str | None]) -> None:
    assert told(found, 2, earlier) == expected


def test_a_check_of_the_credentials_stores_nothing_and_says_nothing() -> None:
    assert told(result("Completed", streams=HOSTS), mode="Check") == (None, None)


def test_an_attempt_that_is_given_up_while_it_runs_leaves_it_unknown() -> None:
    def given_up(status: dict[str, Any]) -> str | None:
        decision = decide(status, replaced_by="acme-prod-m-2", jobs={1: JOB})
        written = next(action for action in decision.actions if isinstance(action, act.PatchStatus)).status
        found: str | None = written.get("activityRecorded")
        return found

    assert given_up(RUNNING) == "Unknown"
    assert given_up({**RUNNING, "activityRecorded": "Nothing"}) == "Unknown"
    between = {**RUNNING, "activityRecorded": "Nothing", "nextAttemptTime": "2026-11-21T09:00:00Z"}
    assert given_up(between) == "Nothing", "no attempt was under way"
    assert given_up({}) is None, "no attempt was made"
