"""What the operator makes of runs that end badly: try again, wait for a person, or give up."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kubernetes import client
from kubernetes.client.rest import ApiException
from tests.api.acme import ready
from tests.api.operator_process import Cluster, container, until

pytestmark = [pytest.mark.api, pytest.mark.usefixtures("operator")]


def test_rejected_credentials_stop_until_the_secret_changes(cluster: Cluster, acme: str) -> None:
    sync = ready(cluster, acme)
    cluster.end_pod(sync, "CredentialsRejected", message="the vendor answered 401")
    cluster.wait_reason("syncjobs", sync["metadata"]["name"], "CredentialsRejected")
    stalled = cluster.wait_reason("integrations", "acme", "CredentialsRejected")
    assert "the vendor answered 401" in stalled["message"].lower()
    assert cluster.condition("integrations", "acme", "CredentialsValid")["reason"] == "Rejected"
    assert len(cluster.jobs()) == 1, "the newest failed Job stays for its logs"
    cluster.core.patch_namespaced_secret("acme-api", cluster.namespace, {"stringData": {"token": "another"}})
    again = cluster.wait_sync("acme")
    assert again["spec"]["trigger"] == "CredentialsRotated"
    cluster.end_pod(again)
    cluster.wait_reason("integrations", "acme", "Synced")
    assert cluster.condition("integrations", "acme", "CredentialsValid")["reason"] == "Accepted"
    until("no failed Job stays after a success", lambda: len(cluster.jobs()) <= 1)


def test_a_changed_spec_is_tried_at_once_after_a_failure_for_good(cluster: Cluster, acme: str) -> None:
    sync = ready(cluster, acme)
    cluster.end_pod(sync, "ConfigInvalid", message="no such region")
    cluster.wait_reason("integrations", "acme", "ConfigInvalid")
    cluster.patch("integrations", "acme", {"spec": {"config": {"region": "us"}}})
    assert cluster.wait_sync("acme")["spec"]["trigger"] == "SpecChange"


@pytest.mark.parametrize("reason", ["Unreachable", "DestinationFull", "RateLimited"])
def test_a_fault_that_may_pass_is_retried_and_told(cluster: Cluster, acme: str, reason: str) -> None:
    sync = ready(cluster, acme)
    cluster.end_pod(sync, reason, message=f"it was {reason}", retry_after_seconds=900)
    name = sync["metadata"]["name"]
    condition = cluster.wait_reason("syncjobs", name, "Retrying")
    assert f"it was {reason}".lower() in condition["message"].lower()
    assert cluster.condition("syncjobs", name, "Reconciling")["reason"] == reason
    until("an event", lambda: [one for one in cluster.events(name) if one[:2] == ("Warning", "SyncRetrying")])
    assert cluster.get("syncjobs", name)["status"]["failures"] == 1
    if reason != "DestinationFull":
        cluster.wait_reason("integrations", "acme", reason, "Healthy")
    assert cluster.condition("integrations", "acme")["status"] == "True", "one failure is no reason for an alarm"


@pytest.mark.parametrize(
    ("code", "ended_by", "message", "reason", "summary"),
    [
        (137, "OOMKilled", "", "OutOfMemory", "Retrying"),
        (1, "", "", "ResultLost", "Retrying"),
        (70, "", "", "ConnectorBug", "ConnectorBug"),
        (0, "", '{"v":1,"sync_uid":"another","attempt":1,"reason":"Completed"}', "ResultInvalid", "ResultInvalid"),
        (0, "", "\x1b[31mroot:x:0:0", "ResultInvalid", "ResultInvalid"),
        (77, "", "", "CredentialsRejected", "CredentialsRejected"),
    ],
)
def test_the_end_of_a_pod_without_a_good_result_has_its_reason(
    cluster: Cluster, acme: str, code: int, ended_by: str, message: str, reason: str, summary: str
) -> None:
    sync = ready(cluster, acme)
    name = sync["metadata"]["name"]
    cluster.terminate(cluster.wait_pod(f"{name}-1"), code, message, ended_by)
    condition = cluster.wait_reason("syncjobs", name, summary)
    assert "\x1b" not in condition["message"]
    if summary == "Retrying":
        assert cluster.condition("syncjobs", name, "Reconciling")["reason"] == reason
    else:
        assert cluster.condition("syncjobs", name, "Stalled")["reason"] == reason


def test_a_pod_that_is_deleted_is_a_new_attempt_that_does_not_count(cluster: Cluster, acme: str) -> None:
    sync = ready(cluster, acme)
    name = sync["metadata"]["name"]
    pod = cluster.wait_pod(f"{name}-1")
    cluster.core.delete_namespaced_pod(pod.metadata.name, cluster.namespace, grace_period_seconds=0)
    cluster.wait_pod(f"{name}-2")
    status = until("attempt 2", lambda: _attempt(cluster, name, 2))
    assert "failures" not in status
    cluster.end_pod(sync, attempt=2)
    cluster.wait_reason("syncjobs", name, "Completed")


def _attempt(cluster: Cluster, name: str, number: int) -> dict[str, Any]:
    status = cluster.get("syncjobs", name).get("status", {})
    return dict(status) if status.get("attempts") == number else {}


def test_an_image_that_cannot_be_pulled_ends_the_run(cluster: Cluster, acme: str) -> None:
    sync = ready(cluster, acme)
    name = sync["metadata"]["name"]
    waiting = container({"waiting": {"reason": "ImagePullBackOff", "message": "back-off"}})
    cluster.pod_status(cluster.wait_pod(f"{name}-1"), waiting)
    condition = cluster.wait_reason("syncjobs", name, "ImagePullFailed")
    assert "towline.example/run:test" in condition["message"]
    until("the Job is gone, so that it never runs later", lambda: not cluster.jobs())


@pytest.fixture
def refusing(cluster: Cluster) -> Iterator[None]:
    """The API server lets nobody write a status of the namespace's Integrations."""
    name = f"refuse-{cluster.namespace}"
    rule = {"apiGroups": ["towline.dev"], "apiVersions": ["*"], "operations": ["UPDATE"]}
    here = {"matchLabels": {"kubernetes.io/metadata.name": cluster.namespace}}
    policy = {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": name},
        "spec": {
            "matchConstraints": {
                "resourceRules": [{**rule, "resources": ["integrations/status"]}],
                "namespaceSelector": here,
            },
            "validations": [{"expression": "false", "message": "words of a policy"}],
        },
    }
    binding = {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"name": name},
        "spec": {"policyName": name, "validationActions": ["Deny"]},
    }
    admission = client.AdmissionregistrationV1Api(cluster.core.api_client)
    admission.create_validating_admission_policy(policy)
    admission.create_validating_admission_policy_binding(binding)
    try:
        until("the policy is in force", lambda: not _may_write(cluster))
        yield
    finally:
        admission.delete_validating_admission_policy_binding(name)
        admission.delete_validating_admission_policy(name)


def _may_write(cluster: Cluster) -> bool:
    place = ("towline.dev", "v1alpha1", cluster.namespace, "integrations", "acme")
    try:
        cluster.objects.patch_namespaced_custom_object_status(*place, {"status": {"missedSchedules": 1}}, dry_run="All")
    except ApiException as error:
        return error.status != 422
    return True


def test_what_the_api_server_keeps_refusing_is_told_by_an_event(
    cluster: Cluster, acme: str, control_plane: Path, request: pytest.FixtureRequest
) -> None:
    ready(cluster, acme)
    request.getfixturevalue("refusing")
    cluster.patch("integrations", "acme", {"spec": {"suspend": True}})

    def events() -> list[str]:
        found = cluster.core.list_namespaced_event(cluster.namespace).items
        return [one.message for one in found if one.reason == "ReconcileFailed"]

    (message,) = until("an event", events)
    assert message.startswith(f"PATCH integrations {cluster.namespace}/acme")
    assert "422" in message
    assert "words of a policy" not in message
    told = subprocess.run(
        [Path(sys.executable).with_name("towline"), "why", "acme", "-n", cluster.namespace],
        capture_output=True, text=True, check=False, timeout=60, env={**os.environ, "KUBECONFIG": str(control_plane)},
    )  # fmt: skip
    assert f"its newest change has not been dealt with: {message}" in told.stdout
