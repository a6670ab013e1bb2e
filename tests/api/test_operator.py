"""The operator as a process of its own on a real API server; the tests end pods in the kubelet's place."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from kubernetes import client
from kubernetes.client.rest import ApiException
from tests.api.client import Api
from tests.api.operator_process import NOWHERE, Cluster, OperatorProcess, container, until

pytestmark = pytest.mark.api
SECRET_VALUE = "hunter2-very-secret-value"
OPTIONS = ("--secret-recheck=1", "--secret-check=3", "--start-timeout=4", "--max-active-syncs=4", "--resync=5")

CONNECTOR = """
apiVersion: towline.dev/v1alpha1
kind: Connector
metadata: {name: %s}
spec:
  title: Acme
  version: 1.0.0
  category: EDR
  capabilities: [Pull]
  credentials: [{key: token}]
  configSchema:
    type: object
    additionalProperties: false
    properties:
      region: {type: string, enum: [eu, us], default: eu}
      host: {type: string}
  egress: [api.acme.example, "${config.host}"]
  http: {baseURL: "https://api.acme.example", auth: {kind: Bearer, value: "${secret.token}"}}
  streams:
  - name: hosts
    request: {path: /hosts}
    sync: {mode: Full}
    emit: [{entity: asset, key: id, fields: {hostname: "=name"}}]
%s
"""


@pytest.fixture(scope="module")
def operator(control_plane: Path, api: Api, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OperatorProcess]:
    dropped = CONNECTOR.replace("metadata: {name: %s}", "metadata: {name: %s, labels: %s}") % (
        "no-longer-bundled",
        json.dumps({"towline.dev/bundled": "true", "app.kubernetes.io/managed-by": "towline"}),
        "",
    )
    Cluster(api.objects, api.core, client.BatchV1Api(api.core.api_client), "default").apply(dropped)
    process = OperatorProcess(control_plane, tmp_path_factory.mktemp("operator") / "log", OPTIONS)
    process.start()
    yield process
    process.stop_if_running()
    for one in api.objects.list_cluster_custom_object("towline.dev", "v1alpha1", "connectors")["items"]:
        api.objects.delete_cluster_custom_object("towline.dev", "v1alpha1", "connectors", one["metadata"]["name"])


@pytest.fixture
def cluster(operator: OperatorProcess, api: Api) -> Iterator[Cluster]:
    if operator.process is None or operator.process.poll() is not None:
        operator.start()
    name = f"operator-{uuid.uuid4().hex[:8]}"
    api.core.create_namespace({"metadata": {"name": name}})
    found = Cluster(api.objects, api.core, client.BatchV1Api(api.core.api_client), name)
    yield found
    found.remove()


@pytest.fixture
def acme(cluster: Cluster) -> str:
    """A Connector of this test, checked and ready."""
    name = f"acme-{uuid.uuid4().hex[:6]}"
    cluster.apply(CONNECTOR % (name, ""))
    cluster.wait_reason("connectors", name, "Valid")
    return name


def secret(name: str = "acme-api", key: str = "token", hosts: str = "") -> str:
    annotations = f', annotations: {{"towline.dev/allowed-hosts": "{hosts}"}}' if hosts else ""
    head = f"apiVersion: v1\nkind: Secret\nmetadata: {{name: {name}{annotations}}}"
    return f"{head}\nstringData: {{{key}: {SECRET_VALUE}}}\n"


def integration(connector: str, name: str = "acme", more: str = "schedule: {interval: 6h}") -> str:
    if "job:" not in more:
        more += f"\n  job: {NOWHERE}"
    return f"""
apiVersion: towline.dev/v1alpha1
kind: Integration
metadata: {{name: {name}}}
spec:
  connectorRef: {{name: {connector}}}
  credentials: {{secretRef: {{name: acme-api}}}}
  {more}
"""


def ready(cluster: Cluster, connector: str, more: str = "schedule: {interval: 6h}") -> dict[str, Any]:
    """An Integration whose first SyncJob has started."""
    cluster.apply(secret())
    cluster.apply(integration(connector, more=more))
    sync = cluster.wait_sync("acme")
    cluster.wait_pod(f"{sync['metadata']['name']}-1")
    return sync


def request(cluster: Cluster, token: str, **more: str) -> None:
    annotations = {"towline.dev/requested-at": token, **{f"towline.dev/{key}": value for key, value in more.items()}}
    cluster.patch("integrations", "acme", {"metadata": {"annotations": annotations}})


def metric(operator: OperatorProcess, *words: str) -> list[str]:
    lines = operator.get("/metrics").splitlines()
    return [line for line in lines if all(word in line for word in words)]


def value(operator: OperatorProcess, name: str) -> float:
    return float(metric(operator, f"{name} ")[-1].split()[-1])


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
    more = value if what == "more" else "schedule: {interval: 6h}"
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


def test_a_request_by_annotation_runs_once(cluster: Cluster, acme: str) -> None:
    cluster.apply(secret())
    cluster.apply(integration(acme, more="suspend: false"))
    cluster.wait_reason("integrations", "acme", "AwaitingFirstSync")
    assert not cluster.syncs()
    request(cluster, "one", **{"full-at": "one"})
    first = cluster.wait_sync("acme")
    assert (first["spec"]["trigger"], first["spec"]["mode"]) == ("Manual", "Full")
    until(
        "it is remembered", lambda: cluster.get("integrations", "acme")["status"].get("lastHandledRequestedAt") == "one"
    )
    # Of two that wait for one probe of the credentials, made in one second, either may go first.
    cluster.wait_pod(f"{first['metadata']['name']}-1")
    request(cluster, "two")
    second = cluster.wait_sync("acme")
    condition = cluster.wait_reason("syncjobs", second["metadata"]["name"], "Queued")
    assert first["metadata"]["name"] in condition["message"]
    cluster.end_pod(first)
    cluster.wait_pod(f"{second['metadata']['name']}-1")
    cluster.end_pod(second)
    cluster.wait_reason("syncjobs", second["metadata"]["name"], "Completed")
    assert len(cluster.syncs()) == 2


def test_a_syncjob_made_by_hand_runs_and_stays(cluster: Cluster, acme: str) -> None:
    cluster.apply(secret())
    cluster.apply(integration(acme, more="successfulSyncsHistoryLimit: 0"))
    cluster.apply(
        "apiVersion: towline.dev/v1alpha1\nkind: SyncJob\nmetadata: {name: by-hand}\n"
        "spec: {integrationRef: {name: acme}, mode: Check}"
    )
    cluster.end_pod(cluster.get("syncjobs", "by-hand"))
    cluster.wait_reason("syncjobs", "by-hand", "Completed")
    cluster.apply(
        "apiVersion: towline.dev/v1alpha1\nkind: SyncJob\nmetadata: {name: wrong-stream}\n"
        "spec: {integrationRef: {name: acme}, streams: [nothing]}"
    )
    assert "nothing" in cluster.wait_reason("syncjobs", "wrong-stream", "ConfigInvalid")["message"]
    assert cluster.get("syncjobs", "by-hand")


def test_suspend_stops_new_runs_and_not_the_running_one(cluster: Cluster, acme: str) -> None:
    sync = ready(cluster, acme)
    cluster.patch("integrations", "acme", {"spec": {"suspend": True}})
    until("suspended", lambda: "nextScheduleTime" not in cluster.get("integrations", "acme")["status"])
    request(cluster, "while-suspended")
    cluster.end_pod(sync)
    cluster.wait_reason("integrations", "acme", "Synced")
    assert len(cluster.syncs()) == 1
    cluster.patch("integrations", "acme", {"spec": {"suspend": False}})
    assert cluster.wait_sync("acme")["spec"]["trigger"] == "Manual"


def test_history_keeps_what_the_limits_say(cluster: Cluster, acme: str) -> None:
    cluster.apply(secret())
    cluster.apply(integration(acme, more="successfulSyncsHistoryLimit: 1"))
    names = []
    for number in range(3):
        request(cluster, f"token-{number}")
        sync = cluster.wait_sync("acme")
        names.append(sync["metadata"]["name"])
        cluster.end_pod(sync)
        cluster.wait_reason("syncjobs", names[-1], "Completed")
    until("one stays", lambda: [one["metadata"]["name"] for one in cluster.syncs()] == names[-1:])


def test_no_more_syncs_run_than_the_limit_allows(operator: OperatorProcess, cluster: Cluster, acme: str) -> None:
    cluster.apply(secret())
    free = int(value(operator, "towline_sync_limit") - value(operator, "towline_sync_active"))
    for number in range(free + 1):
        cluster.apply(integration(acme, name=f"acme-{number}"))
    until("all syncs", lambda: len(cluster.syncs()) == free + 1)
    until("as many run as may", lambda: len(cluster.jobs()) == free)

    def queued() -> list[dict[str, Any]]:
        reasons = {one["metadata"]["name"]: one.get("status", {}).get("conditions", [{}])[0] for one in cluster.syncs()}
        return [one for one in cluster.syncs() if reasons[one["metadata"]["name"]].get("reason") == "Queued"]

    waiting = until("one is queued", queued)
    assert len(waiting) == 1
    assert value(operator, "towline_sync_active") == value(operator, "towline_sync_limit")
    running = next(one for one in cluster.syncs() if one["metadata"]["name"] != waiting[0]["metadata"]["name"])
    cluster.end_pod(running)
    cluster.wait_pod(f"{waiting[0]['metadata']['name']}-1")


def test_deleting_an_integration_takes_its_runs_along(operator: OperatorProcess, cluster: Cluster, acme: str) -> None:
    ready(cluster, acme)
    cluster.objects.delete_namespaced_custom_object(
        "towline.dev", "v1alpha1", cluster.namespace, "integrations", "acme"
    )
    until("no SyncJob stays", lambda: not cluster.syncs())
    until("no Job stays", lambda: not cluster.jobs())
    until("no metric stays", lambda: not metric(operator, f'namespace="{cluster.namespace}"'))
    assert cluster.core.read_namespaced_persistent_volume_claim("towline-data", cluster.namespace), "the data stays"


def test_deleting_a_syncjob_stops_its_job(cluster: Cluster, acme: str) -> None:
    sync = ready(cluster, acme)
    cluster.objects.delete_namespaced_custom_object(
        "towline.dev", "v1alpha1", cluster.namespace, "syncjobs", sync["metadata"]["name"]
    )
    until("no Job stays", lambda: not cluster.jobs())
    time.sleep(1)
    assert not cluster.syncs(), "what a person deleted does not come back"


def test_a_killed_operator_loses_and_doubles_nothing(operator: OperatorProcess, cluster: Cluster, acme: str) -> None:
    sync = ready(cluster, acme)
    name = sync["metadata"]["name"]
    operator.kill()
    cluster.end_pod(sync, streams=[{"name": "hosts", "read": 3, "upserted": 3}])
    operator.start()
    cluster.wait_reason("syncjobs", name, "Completed")
    cluster.wait_reason("integrations", "acme", "Synced")
    assert [one["metadata"]["name"] for one in cluster.syncs()] == [name]
    assert cluster.get("syncjobs", name)["status"]["attempts"] == 1


def test_a_tick_that_came_while_the_operator_was_down_runs_once(
    operator: OperatorProcess, cluster: Cluster, acme: str
) -> None:
    cluster.apply(secret())
    cluster.apply(integration(acme, more='schedule: {cron: "0 * * * *", immediate: false}'))
    until("planned", lambda: cluster.get("integrations", "acme").get("status", {}).get("nextScheduleTime"))
    operator.kill()
    past = time.strftime("%Y-%m-%dT%H:00:00Z", time.gmtime(time.time() - 5 * 3600))
    body = {"status": {"nextScheduleTime": past}}
    cluster.objects.patch_namespaced_custom_object_status(
        "towline.dev", "v1alpha1", cluster.namespace, "integrations", "acme", body
    )
    operator.start()
    sync = cluster.wait_sync("acme")
    newest = time.strftime("%Y%m%dt%H0000z", time.gmtime())
    assert sync["metadata"]["name"] == f"acme-{newest}"
    status = until("counted", lambda: _counted(cluster))
    assert status["missedSchedules"] == 5
    assert len(cluster.syncs()) == 1


def _counted(cluster: Cluster) -> dict[str, Any]:
    status = cluster.get("integrations", "acme")["status"]
    return dict(status) if "missedSchedules" in status else {}


def test_a_schedule_starts_a_sync_when_its_time_has_come(cluster: Cluster, acme: str) -> None:
    cluster.apply(secret())
    cluster.apply(integration(acme, more='schedule: {cron: "* * * * *", immediate: false}'))
    sync = until("the next full minute", lambda: cluster.syncs("acme"), 75)[0]
    assert sync["spec"]["trigger"] == "Schedule"
    assert sync["spec"]["scheduledTime"].endswith(":00Z")


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
