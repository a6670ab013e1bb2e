"""The operator as a process of its own on a real API server; the tests end pods in the kubelet's place."""

from __future__ import annotations

import json
import time
import uuid
from typing import Any

import pytest
import yaml
from kubernetes.client.rest import ApiException
from tests.api.acme import CONNECTOR, SECRET_VALUE, SELDOM, integration, metric, ready, secret
from tests.api.client import Api
from tests.api.operator_process import Cluster, OperatorProcess, until

pytestmark = [pytest.mark.api, pytest.mark.usefixtures("operator")]


def test_bundled_connectors_are_applied_and_dropped_ones_removed(operator: OperatorProcess, cluster: Cluster) -> None:
    for name in ("tenable-io", "servicenow", "active-directory"):
        cluster.wait_reason("connectors", name, "Valid")
    with pytest.raises(ApiException, match="404"):
        cluster.get("connectors", "no-longer-bundled")


def test_an_integration_becomes_a_syncjob_a_job_and_a_result(
    operator: OperatorProcess, cluster: Cluster, acme: str
) -> None:
    sync = ready(cluster, acme)
    name = sync["metadata"]["name"]
    job = cluster.batch.read_namespaced_job(f"{name}-1", cluster.namespace)
    assert job.metadata.owner_references[0].uid == sync["metadata"]["uid"]
    assert cluster.core.read_namespaced_persistent_volume_claim("towline-data", cluster.namespace)
    cluster.wait_reason("integrations", "acme", "AwaitingFirstSync")
    streams = [{"name": "hosts", "read": 1000, "upserted": 412, "checkpoint": "c1", "full": True}]
    cluster.end_pod(sync, streams=streams, http={"2xx": 12, "429": 1})
    done = cluster.wait_reason("syncjobs", name, "Completed")
    assert done["message"] == "412 new or changed of 1,000 read"
    assert cluster.wait_reason("integrations", "acme", "Synced")["status"] == "True"
    status = cluster.get("integrations", "acme")["status"]
    assert status["observedGeneration"] == 1
    assert status["lastSync"] == {"name": name, "reason": "Completed"}
    assert status["streams"][0]["checkpoint"] == "c1"
    assert {one["type"]: one["status"] for one in status["conditions"]} == {
        "Ready": "True",
        "CredentialsValid": "True",
        "Healthy": "True",
        "Fresh": "True",
    }
    until("the Job is gone once its result is recorded", lambda: not cluster.jobs())
    until("an event", lambda: "SyncCompleted" in [reason for _, reason, _ in cluster.events(name)])
    place = f'namespace="{cluster.namespace}"'
    assert metric(operator, "towline_sync_runs_total", place, 'reason="Completed"')[0].endswith(" 1.0")
    assert metric(operator, "towline_sync_records_total", place, 'operation="upserted"')[0].endswith(" 412.0")
    assert metric(operator, "towline_upstream_requests_total", acme, 'code="429"')[0].endswith(" 1.0")
    assert metric(operator, "towline_integration_last_success_timestamp_seconds", place)


def test_the_pod_gets_credentials_by_file_and_no_object_holds_their_value(
    operator: OperatorProcess, cluster: Cluster, acme: str
) -> None:
    sync = ready(cluster, acme)
    pod = cluster.wait_pod(f"{sync['metadata']['name']}-1")
    assert pod.spec.automount_service_account_token is False
    assert "kube-api-access" not in str(pod.spec.volumes)
    cluster.end_pod(sync, "CredentialsRejected", message="the vendor answered 401")
    cluster.wait_reason("integrations", "acme", "CredentialsRejected")
    assert SECRET_VALUE not in cluster.everything()
    assert SECRET_VALUE not in operator.log.read_text()
    assert SECRET_VALUE not in operator.get("/metrics")


BAD: list[Any] = [
    pytest.param(
        "more", "config: {region: asia}", "InvalidSpec", "spec.config.region must be one of eu, us", id="enum"
    ),
    pytest.param("more", "config: {regio: eu}", "InvalidSpec", "did you mean region?", id="unknown-setting"),
    pytest.param("more", "streams: [{name: host}]", "InvalidSpec", "did you mean hosts?", id="unknown-stream"),
    pytest.param("more", 'schedule: {cron: "61 * * * *"}', "InvalidSchedule", "field minute", id="cron"),
    pytest.param(
        "more",
        'schedule: {cron: "0 6 * * *", timeZone: Europe/Pariss}',
        "UnknownTimeZone",
        "IANA name such as Europe/Paris",
        id="time-zone",
    ),
    pytest.param("connector", "tenable-ioo", "ConnectorNotFound", 'Did you mean "tenable-io"?', id="no-connector"),
    pytest.param(
        "secret", "", "SecretNotFound", "create secret generic acme-api --from-literal=token=…", id="no-secret"
    ),
    pytest.param("secret", "tokn", "KeyMissing", "lacks the key token", id="no-key"),
    pytest.param(
        "more",
        "config: {host: 'https://acme.corp.example'}",
        "HostNotAllowed",
        "towline.dev/allowed-hosts=acme.corp.example",
        id="no-consent",
    ),
    pytest.param(
        "more", "destinationSecretRef: {name: warehouse}", "SecretNotFound", '"warehouse"', id="no-destination"
    ),
]


@pytest.mark.parametrize(("what", "value", "reason", "words"), BAD)
def test_bad_input_ends_as_a_condition_an_event_and_a_metric(
    operator: OperatorProcess, cluster: Cluster, acme: str, what: str, value: str, reason: str, words: str
) -> None:
    if what != "secret" or value:
        cluster.apply(secret(key=value if what == "secret" else "token"))
    more = value if what == "more" else SELDOM
    cluster.apply(integration(value if what == "connector" else acme, more=more))
    condition = cluster.wait_reason("integrations", "acme", reason)
    assert condition["status"] == "False"
    assert words in condition["message"]
    assert cluster.condition("integrations", "acme", "Stalled")["reason"] == reason
    until("a warning", lambda: [one for one in cluster.events("acme") if one[:2] == ("Warning", reason)])
    place = f'namespace="{cluster.namespace}"'
    assert metric(operator, "towline_integration_stalled", place, f'reason="{reason}"')
    assert not cluster.syncs()
    assert SECRET_VALUE not in cluster.everything()


def test_a_secret_that_appears_later_is_noticed_and_the_first_sync_starts(cluster: Cluster, acme: str) -> None:
    cluster.apply(integration(acme))
    cluster.wait_reason("integrations", "acme", "SecretNotFound")
    cluster.apply(secret())
    cluster.wait_reason("integrations", "acme", "AwaitingFirstSync")
    cluster.wait_sync("acme")
    until("an event", lambda: "Recovered" in [reason for _, reason, _ in cluster.events("acme")])
    assert not cluster.condition("integrations", "acme", "Stalled")


def test_what_a_terminal_or_yaml_would_trip_over_is_judged_and_told_in_plain_text(cluster: Cluster, acme: str) -> None:
    cluster.apply(secret())
    odd = "\x7f\x85\u2028\x1b[31meu\ufeff"
    body = yaml.safe_load(integration(acme, more="suspend: false"))
    body["metadata"]["annotations"] = {"towline.dev/requested-at": odd}
    body["spec"]["config"] = {odd: "eu"}
    place = ("towline.dev", "v1alpha1", cluster.namespace, "integrations")
    cluster.objects.create_namespaced_custom_object(*place, body)
    message = cluster.wait_reason("integrations", "acme", "InvalidSpec")["message"]
    assert message.isprintable()
    assert "eu" in message
    cluster.patch("integrations", "acme", {"spec": {"config": None}})
    sync = cluster.wait_sync("acme")
    cluster.end_pod(sync)
    cluster.wait_reason("integrations", "acme", "Synced")
    assert cluster.get("integrations", "acme")["status"]["lastHandledRequestedAt"] == odd


def test_a_namespace_has_to_be_open_to_the_connector(cluster: Cluster) -> None:
    name = f"closed-{uuid.uuid4().hex[:6]}"
    closed = "  allowedNamespaces: {from: Selector, selector: {matchLabels: {team: sec}}}"
    cluster.apply(CONNECTOR % (name, closed))
    cluster.apply(secret())
    cluster.apply(integration(name))
    assert "team=sec" in cluster.wait_reason("integrations", "acme", "NamespaceNotAllowed")["message"]
    cluster.core.patch_namespace(cluster.namespace, {"metadata": {"labels": {"team": "sec"}}})
    cluster.wait_reason("integrations", "acme", "AwaitingFirstSync")


def test_a_manifest_that_cannot_be_compiled_is_told_to_admin_and_user(cluster: Cluster) -> None:
    name = f"broken-{uuid.uuid4().hex[:6]}"
    cluster.apply((CONNECTOR % (name, "")).replace("key: id", 'key: "not( an expression"'))
    condition = cluster.wait_reason("connectors", name, "InvalidManifest")
    assert "streams[hosts].emit[asset]" in condition["message"]
    cluster.apply(secret())
    cluster.apply(integration(name))
    assert name in cluster.wait_reason("integrations", "acme", "ConnectorInvalid")["message"]


def test_at_rest_nothing_is_written_not_even_by_a_restart(
    operator: OperatorProcess, cluster: Cluster, acme: str
) -> None:
    sync = ready(cluster, acme)
    cluster.end_pod(sync)
    cluster.wait_reason("integrations", "acme", "Synced")
    until("the Job is gone", lambda: not cluster.jobs())
    until("users are counted", lambda: cluster.get("connectors", acme)["status"].get("users") == 1)
    before = cluster.versions()
    time.sleep(8)  # several checks of the Secret and a full list lie in this time
    assert cluster.versions() == before
    assert operator.stop() == 0
    operator.start()
    time.sleep(4)
    assert cluster.versions() == before
    assert metric(operator, "towline_integration_consecutive_failures", cluster.namespace)[0].endswith(" 0.0")


def test_conditions_of_others_are_kept(cluster: Cluster, acme: str, api: Api) -> None:
    cluster.apply(secret())
    cluster.apply(integration(acme, more="suspend: false"))
    cluster.wait_reason("integrations", "acme", "AwaitingFirstSync")
    foreign = {
        "type": "Audited",
        "status": "True",
        "reason": "Reviewed",
        "message": "",
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }
    conditions = cluster.get("integrations", "acme")["status"]["conditions"]
    cluster.objects.patch_namespaced_custom_object_status(
        "towline.dev",
        "v1alpha1",
        cluster.namespace,
        "integrations",
        "acme",
        {"status": {"conditions": [*conditions, foreign]}},
    )
    cluster.patch("integrations", "acme", {"spec": {"config": {"region": "us"}}})
    until("the change is seen", lambda: cluster.get("integrations", "acme")["status"]["observedGeneration"] == 2)
    assert cluster.condition("integrations", "acme", "Audited")["reason"] == "Reviewed"


def test_no_object_carries_marks_of_the_watching_library(cluster: Cluster, acme: str) -> None:
    sync = ready(cluster, acme)
    for plural, name in (("integrations", "acme"), ("syncjobs", sync["metadata"]["name"]), ("connectors", acme)):
        meta = cluster.get(plural, name)["metadata"]
        assert "finalizers" not in meta
        assert "kopf" not in json.dumps(meta)
