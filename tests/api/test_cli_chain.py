"""`towline why`, `tree`, `logs`, `events`, `suspend` and `resume` against a real API server."""

import base64
import json
import tarfile
from typing import Any

import pytest
from tests.api.client import Api, Kubectl
from tests.api.test_cli_cluster import condition, integration, now, patch_status, towline

from towline.core.facts import INTEGRATION_LABEL, SYNC_LABEL

pytestmark = pytest.mark.api
__all__ = ["integration", "towline"]  # fixtures

SYNC = "prod-m-1"
REJECTED = condition("Stalled", "True", "CredentialsRejected", "cloud.tenable.com rejects the keys of Secret api.")


@pytest.fixture
def chain(api: Api, kubectl: Kubectl, namespace: str, integration: str) -> str:
    """Integration `prod` with a Secret, a SyncJob, its Job and a pod that no node will ever take."""
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "api"},
              "data": {"access_key": base64.b64encode(b"hunter2").decode()}}  # fmt: skip
    kubectl("apply", "-n", namespace, "-f", "-", stdin=json.dumps(secret))
    kubectl("patch", "-n", namespace, "intg", "prod", "--type=merge", "-p",
            '{"spec":{"credentials":{"secretRef":{"name":"api"}}}}')  # fmt: skip
    body = {"apiVersion": "towline.dev/v1alpha1", "kind": "SyncJob", "metadata": {"name": SYNC},
            "spec": {"integrationRef": {"name": "prod"}}}  # fmt: skip
    api.create(body, namespace)
    labels = {INTEGRATION_LABEL: "prod", SYNC_LABEL: SYNC}
    pod = {"containers": [{"name": "sync", "image": "none"}], "restartPolicy": "Never"}
    job = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": f"{SYNC}-1", "labels": labels},
           "spec": {"suspend": True, "template": {"metadata": {"labels": labels}, "spec": pod}}}  # fmt: skip
    kubectl("apply", "-n", namespace, "-f", "-", stdin=json.dumps(job))
    return "prod"


def test_why_shows_the_chain_and_the_cure_and_no_secret(api: Api, namespace: str, towline: Any, chain: str) -> None:
    patch_status(api, namespace, "integrations", "prod", {"conditions": [REJECTED], "effectiveSchedule": "every 1h"})
    ended = towline("why", "prod")
    assert ended.returncode == 2, ended.stderr
    assert f"✗ {namespace}/prod is not ready: CredentialsRejected (since" in ended.stdout
    assert "rejects the keys of Secret api" in ended.stdout
    assert "api found, keys access_key, changed" in ended.stdout
    assert "every 1h, its newest change has not been dealt with: is the operator running?" in ended.stdout
    assert f"Do: kubectl -n {namespace} edit secret api" in ended.stdout
    assert SYNC in ended.stdout
    assert "hunter2" not in ended.stdout
    told = json.loads(towline("why", "prod", "-o", "json").stdout)
    assert (told["ready"], told["reason"]) == (False, "CredentialsRejected")
    assert {entry["link"] for entry in told["chain"]} >= {"Integration", "Connector", "Secret", "SyncJob"}


def test_why_of_a_ready_integration_ends_with_0(api: Api, namespace: str, towline: Any, chain: str) -> None:
    patch_status(api, namespace, "integrations", "prod", {"conditions": [condition("Ready", "True", "Synced", "ok")]})
    assert towline("why", "prod").returncode == 0


def test_a_first_sync_that_failed_is_told_by_all_three_although_the_integration_is_ready(
    api: Api, namespace: str, towline: Any, chain: str
) -> None:
    ready = condition("Ready", "True", "AwaitingFirstSync", "Checked; no sync has ended yet")
    last = {"name": SYNC, "reason": "Unreachable"}
    patch_status(api, namespace, "integrations", "prod", {
        "conditions": [ready], "consecutiveFailures": 1, "lastSync": last, "lastFailureTime": now(),
    })  # fmt: skip
    failed = condition("Succeeded", "False", "Unreachable", "cloud.tenable.com does not answer")
    patch_status(api, namespace, "syncjobs", SYNC, {"conditions": [failed], "completionTime": now()})
    for verb in ("why", "status"):
        ended = towline(verb, "prod")
        assert ended.returncode == 0, ended.stderr
        assert ended.stdout.startswith(
            f"! {namespace}/prod is ready: AwaitingFirstSync, but its last sync failed (Unreachable)\n  {SYNC} failed "
        )
        assert "cloud.tenable.com does not answer" in ended.stdout
    assert f"towline why prod -n {namespace}" in ended.stderr
    assert "Do: towline logs" in towline("why", "prod").stdout
    told = json.loads(towline("why", "prod", "-o", "json").stdout)
    assert (told["ready"], told["failing"]["sync"], told["failing"]["reason"]) == (True, SYNC, "Unreachable")
    root = towline("tree", "prod").stdout.splitlines()[1]
    assert root.startswith("Integration/prod")
    assert root.endswith("its last sync failed (Unreachable)")
    assert "its last sync failed (Unreachable)" in towline("status").stdout


def test_the_keys_of_the_json_output_stay(towline: Any, chain: str) -> None:
    def shape(*arguments: str) -> Any:
        found = json.loads(towline(*arguments, "-o", "json").stdout)
        return set(found[0] if isinstance(found, list) else found)

    assert shape("why", "prod") == {"ready", "reason", "message", "failing", "chain", "cure"}
    assert shape("tree", "prod") == {"depth", "object", "state", "age", "message"}
    assert shape("status", "prod") == {"integration", "syncJobs"}
    assert shape("status") >= {"apiVersion", "kind", "metadata", "spec"}
    assert shape("check") == {"about", "verdict", "text", "cure"}


def test_the_tree_holds_what_hangs_on_the_integration(towline: Any, chain: str) -> None:
    ended = towline("tree", "prod")
    assert ended.returncode == 0, ended.stderr
    objects = [line.split("   ")[0].rstrip() for line in ended.stdout.splitlines()[1:]]
    assert objects == [
        "Integration/prod", "└ Connector/tenable-io", "└ Secret/api", f"└ SyncJob/{SYNC}", f"  └ Job/{SYNC}-1",
    ]  # fmt: skip
    assert "Suspended" in ended.stdout
    assert "hunter2" not in towline("tree", "prod", "-o", "json").stdout


def test_events_of_the_integration_and_of_nothing_else(
    api: Api, kubectl: Kubectl, namespace: str, towline: Any, chain: str
) -> None:
    assert "no such events" in towline("events", "prod", "--warnings").stderr
    for kind, name, reason in (("Integration", "prod", "SyncFailed"), ("Secret", "api", "Unrelated")):
        uid = kubectl("get", "-n", namespace, kind, name, "-o", "jsonpath={.metadata.uid}")
        version = "towline.dev/v1alpha1" if kind == "Integration" else "v1"
        about = {"apiVersion": version, "kind": kind, "name": name, "namespace": namespace, "uid": uid}
        event = {"apiVersion": "v1", "kind": "Event", "metadata": {"name": f"{name}.1"}, "type": "Warning",
                 "reason": reason, "message": "It failed.", "reportingComponent": "other",
                 "involvedObject": about}  # fmt: skip
        kubectl("apply", "-n", namespace, "-f", "-", stdin=json.dumps(event))
    assert "Give NAME or --all-namespaces" in towline("events", "prod", "-A").stderr
    assert "NAMESPACE" in towline("events", "-A").stdout.splitlines()[0]
    ended = towline("events", "prod", "--warnings")
    assert ended.returncode == 0, ended.stderr
    assert "SyncFailed" in ended.stdout
    assert "Integration/prod" in ended.stdout
    assert "Unrelated" not in ended.stdout


def test_logs_without_a_pod_say_where_to_look(towline: Any, chain: str) -> None:
    ended = towline("logs", "prod")
    assert ended.returncode == 1
    assert "No pod is left" in ended.stderr
    assert "status prod" in ended.stderr


def test_an_integration_is_suspended_and_resumed(kubectl: Kubectl, namespace: str, towline: Any, chain: str) -> None:
    def suspended() -> bool:
        return bool(json.loads(kubectl("get", "-n", namespace, "intg", "prod", "-o", "json"))["spec"].get("suspend"))

    assert towline("suspend", "prod").returncode == 0
    assert suspended()
    assert "is suspended already" in towline("suspend", "prod").stderr
    assert "prod resumed" in towline("resume", "prod").stderr
    assert not suspended()


def test_a_mistyped_name_changes_nothing(kubectl: Kubectl, namespace: str, towline: Any, chain: str) -> None:
    ended = towline("suspend", "prod", "prd")
    assert ended.returncode == 1
    assert "Did you mean prod?" in ended.stderr
    item = json.loads(kubectl("get", "-n", namespace, "intg", "prod", "-o", "json"))
    assert "suspend" not in item["spec"] or item["spec"]["suspend"] is False


def test_who_may_not_read_secrets_sees_the_rest(
    kubectl: Kubectl, namespace: str, towline: Any, chain: str, tmp_path: Any
) -> None:
    kubectl("create", "serviceaccount", "-n", namespace, "viewer")
    kubectl("create", "role", "-n", namespace, "viewer", "--verb=get,list",
            "--resource=integrations.towline.dev,syncjobs.towline.dev,jobs.batch")  # fmt: skip
    kubectl("create", "rolebinding", "-n", namespace, "viewer", "--role=viewer",
            f"--serviceaccount={namespace}:viewer")  # fmt: skip
    config = json.loads(kubectl("config", "view", "--raw", "-o", "json"))
    token = kubectl("create", "token", "-n", namespace, "viewer").strip()
    config["users"] = [{"name": user["name"], "user": {"token": token}} for user in config["users"]]
    file = tmp_path / "viewer.kubeconfig"
    file.write_text(json.dumps(config))
    ended = towline("tree", "prod", kubeconfig=file)
    assert ended.returncode == 0, ended.stderr
    assert f"Job/{SYNC}-1" in ended.stdout
    assert "You may not read the Connector, the Secret, pods here" in ended.stderr


def test_a_cluster_without_an_operator_is_found_unsound(towline: Any, chain: str) -> None:
    ended = towline("check")
    assert ended.returncode == 1
    assert "integrations: served as v1alpha1" in ended.stderr
    assert "Operator: there is no Deployment of it" in ended.stderr
    assert "helm install towline" in ended.stderr
    found = {entry["about"]: entry["verdict"] for entry in json.loads(towline("check", "-o", "json").stdout)}
    assert found["integrations"] == "fine"
    assert found["Operator"] == "problem"
    assert towline("check", "--wait", "1s").returncode == 3
    wrong = towline("check", "--wait", "soon")
    assert (wrong.returncode, "--wait: " in wrong.stderr) == (1, True)
    assert towline("check", "--pre", "--wait", "1m").returncode == 0


def test_before_the_installation_the_cluster_and_the_rights_are_looked_at(
    kubectl: Kubectl, namespace: str, towline: Any, tmp_path: Any
) -> None:
    assert towline("check", "--pre").returncode == 0
    kubectl("create", "serviceaccount", "-n", namespace, "guest")
    config = json.loads(kubectl("config", "view", "--raw", "-o", "json"))
    token = kubectl("create", "token", "-n", namespace, "guest").strip()
    config["users"] = [{"name": user["name"], "user": {"token": token}} for user in config["users"]]
    file = tmp_path / "guest.kubeconfig"
    file.write_text(json.dumps(config))
    ended = towline("check", "--pre", kubeconfig=file)
    assert ended.returncode == 1
    assert "you may not create customresourcedefinitions" in ended.stderr


def test_the_support_bundle_has_the_chain_and_no_secret(
    kubectl: Kubectl, namespace: str, towline: Any, chain: str, tmp_path: Any
) -> None:
    file = tmp_path / "bundle.tar.gz"
    ended = towline("support", "prod", "--write", str(file))
    assert ended.returncode == 0, ended.stderr
    assert file.stat().st_mode & 0o077 == 0
    with tarfile.open(file) as archive:
        texts = {entry.name.partition("/")[2]: archive.extractfile(entry).read().decode() for entry in archive}  # type: ignore[union-attr]
    assert json.loads(texts["integration.json"])["metadata"]["name"] == "prod"
    assert [item["metadata"]["name"] for item in json.loads(texts["syncjobs.json"])] == [SYNC]
    assert json.loads(texts["secret-keys.json"]) == {"name": "api", "keys": ["access_key"]}
    whole = "".join(texts.values())
    assert "hunter2" not in whole
    assert base64.b64encode(b"hunter2").decode() not in whole
    assert "is there already" in towline("support", "prod", "--write", str(file)).stderr
