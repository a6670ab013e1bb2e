"""How the kinds behave on a real API server: names, columns, first status, applying twice, status, what stays fixed."""

import json
from typing import Any

import pytest
import yaml
from tests.api.client import Api, Kubectl, RefusedError
from tests.cluster.report import ClusterError

pytestmark = pytest.mark.api

INTEGRATION: dict[str, Any] = {
    "apiVersion": "towline.dev/v1alpha1",
    "kind": "Integration",
    "metadata": {"name": "tenable-emea"},
    "spec": {
        "connectorRef": {"name": "tenable-io"},
        "credentials": {"secretRef": {"name": "tenable"}},
        "schedule": {"cron": "*/30 * * * *"},
        "streams": [{"name": "assets"}, {"name": "vulnerabilities", "fullEvery": "7d"}],
        "job": {"resources": {"limits": {"cpu": 1, "memory": "256Mi"}}},
    },
}
SYNC_JOB: dict[str, Any] = {
    "apiVersion": "towline.dev/v1alpha1",
    "kind": "SyncJob",
    "metadata": {"name": "now"},
    "spec": {"integrationRef": {"name": "tenable-emea"}},
}
CONNECTOR: dict[str, Any] = {
    "apiVersion": "towline.dev/v1alpha1",
    "kind": "Connector",
    "metadata": {"name": "behaviour-test"},
    "spec": {
        "title": "Example",
        "version": "1.0.0",
        "category": "EDR",
        "capabilities": ["Pull"],
        "http": {"baseURL": "https://api.example.com"},
        "streams": [
            {
                "name": "hosts",
                "request": {"path": "/hosts"},
                "sync": {"mode": "Full"},
                "emit": [{"entity": "asset", "key": "=id"}],
            }
        ],
    },
}


def get(kubectl: Kubectl, namespace: str, what: str) -> dict[str, Any]:
    return dict(json.loads(kubectl("get", "-n", namespace, what, "-o", "json")))


@pytest.mark.parametrize(("short", "plural"), [("conn", "connectors"), ("intg", "integrations"), ("sync", "syncjobs")])
def test_short_name_stands_for_the_kind(api: Api, kubectl: Kubectl, short: str, plural: str) -> None:
    listed = kubectl("get", short, "-A", "-o", "json")
    assert json.loads(listed)["kind"] == "List"
    assert f"{plural}.towline.dev" in kubectl("api-resources", "--api-group=towline.dev", "-o", "name")


def test_category_lists_all_kinds(api: Api, kubectl: Kubectl, namespace: str) -> None:
    api.create(INTEGRATION, namespace)
    api.create(SYNC_JOB, namespace)

    listed = kubectl("get", "towline", "-n", namespace, "-o", "name")

    assert "integration.towline.dev/tenable-emea" in listed
    assert "syncjob.towline.dev/now" in listed


@pytest.mark.parametrize(
    ("field", "says"),
    [
        ("integrations", "Integration connects one external system"),
        ("integrations.spec.schedule.interval", "For example 30m, 6h, 7d."),
        ("integrations.spec.credentials.secretRef", "A Secret in this namespace."),
        ("syncjobs.spec.mode", "Check only tries the credentials and stores nothing"),
        ("connectors.spec.egress", "Hosts that this connector talks to."),
        ("connectors.spec.streams.sync", "cursor"),
    ],
)
def test_kubectl_explains_a_field(api: Api, kubectl: Kubectl, field: str, says: str) -> None:
    assert says in " ".join(kubectl("explain", field).split())


def test_new_integration_shows_that_the_operator_has_not_seen_it(api: Api, kubectl: Kubectl, namespace: str) -> None:
    api.create(INTEGRATION, namespace)

    header, row = kubectl("get", "intg", "-n", namespace).splitlines()

    columns = ["NAME", "CONNECTOR", "READY", "STATUS", "LAST SYNC", "SUSPENDED", "AGE"]
    assert [part.strip() for part in header.split("   ") if part.strip()] == columns
    assert row.split()[:5] == ["tenable-emea", "tenable-io", "Unknown", "Pending", "false"]
    wide = kubectl("get", "intg", "-n", namespace, "-o", "wide")
    assert "waiting for the Towline operator" in wide
    status = get(kubectl, namespace, "intg/tenable-emea")["status"]
    assert status["observedGeneration"] == -1


def test_new_sync_job_shows_its_integration_and_trigger(api: Api, kubectl: Kubectl, namespace: str) -> None:
    api.create(SYNC_JOB, namespace)

    header, row = kubectl("get", "sync", "-n", namespace).splitlines()

    assert header.split() == ["NAME", "INTEGRATION", "TRIGGER", "STATUS", "UPSERTED", "STARTED", "AGE"]
    assert row.split()[:4] == ["now", "tenable-emea", "Manual", "Pending"]


def test_integrations_are_found_by_their_connector(api: Api, kubectl: Kubectl, namespace: str) -> None:
    api.create(INTEGRATION, namespace)
    other = {**INTEGRATION, "metadata": {"name": "other"}, "spec": {"connectorRef": {"name": "servicenow"}}}
    api.create(other, namespace)

    found = kubectl("get", "intg", "-n", namespace, "-o", "name", "--field-selector=spec.connectorRef.name=servicenow")

    assert found.split() == ["integration.towline.dev/other"]


def test_status_given_by_a_user_is_dropped(api: Api, namespace: str) -> None:
    created = api.create({**INTEGRATION, "status": {"observedGeneration": 9, "consecutiveFailures": 9}}, namespace)

    assert created["status"]["observedGeneration"] == -1
    assert "consecutiveFailures" not in created["status"]


def test_defaults_are_filled_in(api: Api, namespace: str) -> None:
    spec = api.create(INTEGRATION, namespace)["spec"]

    assert spec["suspend"] is False
    assert spec["concurrencyPolicy"] == "Forbid"
    assert spec["credentials"]["source"] == "Secret"
    assert spec["schedule"]["immediate"] is True
    assert spec["streams"] == INTEGRATION["spec"]["streams"], "a default in a list shows as drift"


@pytest.mark.parametrize("server_side", [False, True], ids=["client-side", "server-side"])
def test_applying_the_same_again_changes_nothing(api: Api, kubectl: Kubectl, namespace: str, server_side: bool) -> None:
    manifest = yaml.safe_dump_all([INTEGRATION, SYNC_JOB, CONNECTOR])
    options = ("apply", "-n", namespace, "-f", "-", *(["--server-side"] if server_side else []))
    kubectl(*options, stdin=manifest)
    # The first update of any kind stores the first status, which a create leaves to the schema's default.
    apply_status(kubectl, namespace, "towline", [condition("Ready")])
    before = get(kubectl, namespace, "intg/tenable-emea")["metadata"]["resourceVersion"]

    again = kubectl(*options, stdin=manifest)

    assert get(kubectl, namespace, "intg/tenable-emea")["metadata"]["resourceVersion"] == before
    if not server_side:
        assert [line.rsplit(" ", 1)[1] for line in again.splitlines()] == ["unchanged"] * 3
    kubectl("delete", "connector", "behaviour-test")


def status_patch(conditions: list[dict[str, Any]]) -> str:
    body = {
        "apiVersion": "towline.dev/v1alpha1",
        "kind": "Integration",
        "metadata": {"name": "tenable-emea"},
        "status": {"observedGeneration": 1, "conditions": conditions},
    }
    return json.dumps(body)


def condition(type_: str, status: str = "True") -> dict[str, Any]:
    return {
        "type": type_,
        "status": status,
        "reason": "Synced",
        "message": "42 rows",
        "lastTransitionTime": "2026-11-21T08:00:00Z",
    }


def apply_status(kubectl: Kubectl, namespace: str, manager: str, conditions: list[dict[str, Any]]) -> None:
    kubectl(
        "apply", "-n", namespace, "--server-side", "--force-conflicts", "--subresource=status",
        f"--field-manager={manager}", "-f", "-", stdin=status_patch(conditions),
    )  # fmt: skip


def test_two_writers_of_status_keep_their_conditions(api: Api, kubectl: Kubectl, namespace: str) -> None:
    api.create(INTEGRATION, namespace)
    apply_status(kubectl, namespace, "towline", [condition("Ready"), condition("Fresh")])
    apply_status(kubectl, namespace, "policy", [condition("example.com/Reviewed")])

    apply_status(kubectl, namespace, "towline", [condition("Ready", "False")])

    stored = get(kubectl, namespace, "intg/tenable-emea")
    assert {c["type"]: c["status"] for c in stored["status"]["conditions"]} == {
        "Ready": "False",
        "example.com/Reviewed": "True",
    }
    assert stored["metadata"]["generation"] == 1, "a status write is no new generation"


def test_status_with_a_field_that_the_schema_lacks_is_refused(api: Api, kubectl: Kubectl, namespace: str) -> None:
    api.create(INTEGRATION, namespace)
    body = json.loads(status_patch([]))
    body["status"]["mood"] = "good"

    with pytest.raises(ClusterError, match=r"mood.*field not declared in schema"):
        kubectl("apply", "-n", namespace, "--server-side", "--subresource=status", "-f", "-", stdin=json.dumps(body))


def test_waiting_for_ready_ends_when_the_condition_is_true(api: Api, kubectl: Kubectl, namespace: str) -> None:
    api.create(INTEGRATION, namespace)
    with pytest.raises(ClusterError, match="timed out waiting"):
        kubectl("wait", "-n", namespace, "--for=condition=Ready", "--timeout=1s", "intg/tenable-emea")

    apply_status(kubectl, namespace, "towline", [condition("Ready")])

    assert "condition met" in kubectl("wait", "-n", namespace, "--for=condition=Ready", "intg/tenable-emea")


def test_connector_of_an_integration_stays(api: Api, kubectl: Kubectl, namespace: str) -> None:
    api.create(INTEGRATION, namespace)

    with pytest.raises(ClusterError) as refused:
        patch = '{"spec":{"connectorRef":{"name":"servicenow"}}}'
        kubectl("patch", "-n", namespace, "intg/tenable-emea", "--type=merge", "-p", patch)

    assert (
        "spec.connectorRef: Forbidden: connectorRef cannot be changed: checkpoints and rows belong to one connector."
        " Create a new Integration" in str(refused.value)
    )
    with pytest.raises(ClusterError, match=r"spec\.connectorRef: Required value"):
        remove = '[{"op": "remove", "path": "/spec/connectorRef"}]'
        kubectl("patch", "-n", namespace, "intg/tenable-emea", "--type=json", "-p", remove)


def test_what_a_sync_job_asked_for_stays(api: Api, kubectl: Kubectl, namespace: str) -> None:
    api.create(SYNC_JOB, namespace)

    with pytest.raises(ClusterError, match="the spec of a SyncJob cannot be changed: create another SyncJob"):
        kubectl("patch", "-n", namespace, "sync/now", "--type=merge", "-p", '{"spec":{"mode":"Full"}}')

    kubectl("label", "-n", namespace, "sync/now", "team=secops")


def test_integration_can_be_suspended_and_rescheduled(api: Api, kubectl: Kubectl, namespace: str) -> None:
    api.create(INTEGRATION, namespace)

    patch = '{"spec":{"suspend":true,"schedule":{"cron":null,"interval":"6h"}}}'
    kubectl("patch", "-n", namespace, "intg/tenable-emea", "--type=merge", "-p", patch)

    assert get(kubectl, namespace, "intg/tenable-emea")["metadata"]["generation"] == 2
    selected = ("get", "intg", "-n", namespace, "-o", "name", "--field-selector=spec.suspend=true")
    assert kubectl(*selected).split() == ["integration.towline.dev/tenable-emea"]


def test_kubectl_itself_shows_the_sentence(api: Api, kubectl: Kubectl, namespace: str) -> None:
    wrong = {**INTEGRATION, "spec": {**INTEGRATION["spec"], "schedule": {"cron": "every day"}}}

    with pytest.raises(ClusterError) as refused:
        kubectl("apply", "-n", namespace, "-f", "-", stdin=json.dumps(wrong))

    assert 'spec.schedule.cron: Invalid value: "object": "every day" is not a cron expression: give five fields' in str(
        refused.value
    )


def test_the_largest_connector_is_still_applied_client_side(api: Api, kubectl: Kubectl) -> None:
    stream = CONNECTOR["spec"]["streams"][0]
    streams = [{**stream, "name": f"stream-{number}"} for number in range(50)]
    body = {**CONNECTOR, "metadata": {"name": "behaviour-large"}, "spec": {**CONNECTOR["spec"], "streams": streams}}

    assert "created" in kubectl("apply", "-f", "-", stdin=json.dumps(body))
    kubectl("delete", "connector", "behaviour-large")


def test_refusal_leaves_nothing_behind(api: Api, kubectl: Kubectl, namespace: str) -> None:
    with pytest.raises(RefusedError):
        api.create({**SYNC_JOB, "spec": {**SYNC_JOB["spec"], "mode": "Fast"}}, namespace)

    assert kubectl("get", "sync", "-n", namespace, "-o", "name") == ""
