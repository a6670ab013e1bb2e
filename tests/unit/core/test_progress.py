"""Whose report of progress is believed, and what the status says of it."""

from __future__ import annotations

from typing import Any

import pytest
from tests.unit.core.build import NOW, SETTINGS, around, integration, sync, view

from towline.contract import ProgressReport
from towline.core.actions import PatchStatus
from towline.core.pods import JobFacts, PodFacts
from towline.core.progress import Speaker, progress, refusal, run_of_pod, speaker
from towline.core.syncjobs import SyncSnapshot, reconcile_sync

WHO = Speaker("secops", "acme-prod-m-1-1-x7", "p-1")


def review(**changes: Any) -> dict[str, Any]:
    user = {
        "username": "system:serviceaccount:secops:default",
        "extra": {
            "authentication.kubernetes.io/pod-name": ["acme-prod-m-1-1-x7"],
            "authentication.kubernetes.io/pod-uid": ["p-1"],
        },
    }
    return {"status": {"authenticated": True, "audiences": ["towline"], "user": user, **changes}}


def pod(**meta: Any) -> dict[str, Any]:
    return {
        "metadata": {
            "name": "acme-prod-m-1-1-x7",
            "namespace": "secops",
            "uid": "p-1",
            "labels": {"app.kubernetes.io/managed-by": "towline", "towline.dev/sync": "acme-prod-m-1"},
            "ownerReferences": [{"kind": "Job", "name": "acme-prod-m-1-1", "uid": "j-1", "controller": True}],
            **meta,
        }
    }


JOB = {"metadata": {"name": "acme-prod-m-1-1", "ownerReferences": [{"uid": "s-1"}]}}


def run(**status: Any) -> dict[str, Any]:
    return {"metadata": {"uid": "s-1"}, "status": {"attempts": 1, **status}}


def report(**changes: Any) -> ProgressReport:
    told = {"sync_uid": "s-1", "attempt": 1, "stream": "hosts", "streams": [{"name": "hosts", "read": 7}]}
    return ProgressReport.model_validate({**told, **changes})


def test_a_token_proves_a_pod_only_for_our_audience() -> None:
    assert speaker(review(), "towline") == WHO
    assert speaker(review(audiences=["https://kubernetes.default.svc"]), "towline") is None
    assert speaker(review(authenticated=False), "towline") is None
    assert speaker(review(user={"username": "alice"}), "towline") is None
    assert speaker(review(user={"username": "system:serviceaccount:secops:default"}), "towline") is None
    assert speaker({}, "towline") is None


def test_a_pod_speaks_for_the_attempt_of_its_job_and_for_no_other() -> None:
    assert run_of_pod(pod(), WHO) == ("acme-prod-m-1", 1)
    assert run_of_pod(pod(uid="p-2"), WHO) is None, "a later pod of the same name"
    assert run_of_pod(pod(labels={"towline.dev/sync": "acme-prod-m-1"}), WHO) is None
    assert run_of_pod(pod(ownerReferences=[]), WHO) is None
    assert run_of_pod(None, WHO) is None


@pytest.mark.parametrize(
    ("sync_", "job", "attempt", "told"),
    [
        (None, JOB, 1, {}),
        (run(), None, 1, {}),
        (run(), JOB, 1, {"sync_uid": "s-2"}),
        (run(), {"metadata": {"ownerReferences": [{"uid": "s-2"}]}}, 1, {}),
        (run(), JOB, 1, {"attempt": 2}),
        (run(attempts=2), JOB, 1, {}),
        (run(nextAttemptTime="2026-11-21T08:40:00Z"), JOB, 1, {}),
        (run(completionTime="2026-11-21T08:40:00Z"), JOB, 1, {}),
    ],
)
def test_a_report_that_does_not_fit_the_run_is_refused(
    sync_: dict[str, Any] | None, job: dict[str, Any] | None, attempt: int, told: dict[str, Any]
) -> None:
    assert refusal(sync_, job, attempt, report(**told))


def test_a_report_that_fits_is_taken_and_only_streams_of_the_connector_count() -> None:
    assert refusal(run(), JOB, 1, report()) == ""
    found = progress(report(streams=[{"name": "hosts", "read": 7}, {"name": "evil", "read": 9}]), ["hosts"], NOW)
    assert found is not None
    assert (found.stream, found.read, found.updated_time) == ("hosts", 7, "2026-11-21T08:30:00Z")
    assert [entry.name for entry in found.streams or []] == ["hosts"]
    assert progress(report(stream="evil"), ["hosts"], NOW) is None


def test_the_status_shows_progress_while_the_attempt_runs_and_not_afterwards() -> None:
    told = progress(report(rate=90), ["hosts"], NOW)
    job = JobFacts("acme-prod-m-1-1", "j-1", NOW, {})
    subject = integration()

    def written(pod_: PodFacts, status: dict[str, Any], **more: Any) -> dict[str, Any]:
        snapshot = SyncSnapshot(sync(status), subject, view(subject), around(), {1: job}, {1: pod_}, slot=True, **more)
        (patch, *_) = [one for one in reconcile_sync(snapshot, NOW, SETTINGS).actions if isinstance(one, PatchStatus)]
        return patch.status

    running = written(PodFacts("p", "p-1", "Running", running=True), {"attempts": 1}, progress=told)
    assert running["progress"]["recordsPerSecond"] == 90
    again = written(PodFacts("p", "p-1", "Running", running=True), running)
    assert again["progress"] == running["progress"], "no news is no reason to forget"
    ended = written(PodFacts("p", "p-1", "Failed", exit_code=75), running)
    assert ended["nextAttemptTime"]
    assert "progress" not in ended
