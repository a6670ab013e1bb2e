"""`towline sync` and `towline status` against a real API server; the test answers in the operator's place."""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.api.client import GROUP, VERSION, Api, Kubectl
from tests.cluster.kubectl import find_kubectl

from towline.contract import FULL_AT, REQUESTED_AT, REQUESTED_BY
from towline.core import names

pytestmark = pytest.mark.api
BIN = Path(sys.executable).parent


def now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def condition(kind: str, status: str, reason: str, message: str) -> dict[str, str]:
    return {"type": kind, "status": status, "reason": reason, "message": message, "lastTransitionTime": now()}


@pytest.fixture
def towline(control_plane: Path, namespace: str) -> Any:
    def run(*arguments: str, kubeconfig: Path | None = None) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "KUBECONFIG": str(kubeconfig or control_plane), "PYTHONUTF8": "1"}
        command = [BIN / "towline", *arguments, "-n", namespace]
        return subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment)

    return run


@pytest.fixture
def integration(api: Api, namespace: str) -> str:
    body = {
        "apiVersion": f"{GROUP}/{VERSION}",
        "kind": "Integration",
        "metadata": {"name": "prod"},
        "spec": {"connectorRef": {"name": "tenable-io"}, "schedule": {"interval": "1h"}},
    }
    api.create(body, namespace)
    return "prod"


def patch_status(api: Api, namespace: str, plural: str, name: str, status: dict[str, Any]) -> None:
    api.objects.patch_namespaced_custom_object_status(GROUP, VERSION, namespace, plural, name, {"status": status})


@contextmanager
def operator(
    api: Api, namespace: str, outcome: dict[str, Any], release: threading.Event | None = None
) -> Iterator[dict[str, str]]:
    """Answers one request of Integration `prod` with a SyncJob that ends with `outcome`, once `release` is set if there
    is one; yields the annotations."""
    seen: dict[str, str] = {}
    stop = threading.Event()

    def answer() -> None:
        while not stop.is_set():
            found = api.objects.get_namespaced_custom_object(GROUP, VERSION, namespace, "integrations", "prod")
            annotations = found["metadata"].get("annotations") or {}
            if token := annotations.get(REQUESTED_AT):
                seen.update(annotations)
                name = names.requested("prod", token)
                spec = {"integrationRef": {"name": "prod"}, "trigger": "Manual"}
                body = {"apiVersion": f"{GROUP}/{VERSION}", "kind": "SyncJob", "metadata": {"name": name}, "spec": spec}
                api.create(body, namespace)
                running = condition("Succeeded", "Unknown", "Running", "attempt 1 runs")
                progress = {"stream": "assets", "read": 120, "expected": 300, "updatedTime": now()}
                patch_status(api, namespace, "syncjobs", name, {"progress": progress, "conditions": [running]})
                if release is not None:
                    release.wait(60)
                ended = {"startTime": now(), "completionTime": now(), **outcome}
                patch_status(api, namespace, "syncjobs", name, ended)
                return
            time.sleep(0.1)

    thread = threading.Thread(target=answer)
    thread.start()
    try:
        yield seen
    finally:
        stop.set()
        thread.join()


DONE = {
    "totals": {"read": 18234, "upserted": 412, "deleted": 3, "rejected": 1},
    "conditions": [condition("Succeeded", "True", "Completed", "412 upserted")],
}
FAILED = {"conditions": [condition("Succeeded", "False", "RetriesExhausted", "cloud.tenable.com refuses connections.")]}


def test_a_sync_is_asked_for_followed_and_told(api: Api, namespace: str, control_plane: Path, integration: str) -> None:
    release, talk = threading.Event(), ""
    environment = {**os.environ, "KUBECONFIG": str(control_plane), "PYTHONUTF8": "1"}
    command = [BIN / "towline", "sync", "prod", "-n", namespace]
    with operator(api, namespace, DONE, release) as annotations:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)
        assert process.stderr is not None
        for line in process.stderr:
            talk += line
            if "assets: 120 of 300 read" in line:
                release.set()  # it ends only once it was seen on its way
        out, _ = process.communicate(timeout=60)
    assert process.returncode == 0, talk
    assert out == ""
    assert release.is_set(), talk
    assert "asked for a sync of" in talk
    assert "read 18,234   changed 412   removed 3   rejected 1" in talk
    why = f"towline data towline_rejected --cluster -n {namespace} --where integration={namespace}/prod"
    assert f"1 record does not fit and stayed out; why: {why}" in talk
    assert FULL_AT not in annotations
    assert annotations[REQUESTED_BY], "who asks, as the API server knows the caller"


def test_kubectl_runs_it_as_its_plugin(control_plane: Path, namespace: str, integration: str) -> None:
    path = os.pathsep.join([str(BIN), os.environ["PATH"]])
    environment = {**os.environ, "KUBECONFIG": str(control_plane), "PYTHONUTF8": "1", "PATH": path}
    command = [find_kubectl(), "towline", "status", "-n", namespace]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment)
    assert ended.returncode == 0, ended.stderr
    assert "prod" in ended.stdout


def test_a_full_sync_carries_the_same_token_twice(api: Api, namespace: str, towline: Any, integration: str) -> None:
    with operator(api, namespace, DONE) as annotations:
        ended = towline("sync", "prod", "--full", "-o", "json")
    assert ended.returncode == 0, ended.stderr
    assert annotations[FULL_AT] == annotations[REQUESTED_AT]
    assert json.loads(ended.stdout)["status"]["totals"]["upserted"] == 412


def test_a_failed_sync_ends_with_2_and_the_reason(api: Api, namespace: str, towline: Any, integration: str) -> None:
    with operator(api, namespace, FAILED):
        ended = towline("sync", "prod")
    assert ended.returncode == 2
    assert "RetriesExhausted" in ended.stderr
    assert "cloud.tenable.com refuses connections." in ended.stderr


def test_without_waiting_the_request_is_made_and_nothing_more(
    api: Api, kubectl: Kubectl, namespace: str, towline: Any, integration: str
) -> None:
    ended = towline("sync", "prod", "--no-wait", "-o", "json")
    assert ended.returncode == 0, ended.stderr
    written = json.loads(kubectl("get", "-n", namespace, "intg", "prod", "-o", "json"))
    token = written["metadata"]["annotations"][REQUESTED_AT]
    assert json.loads(ended.stdout)["syncJob"] == names.requested("prod", token)


def test_a_request_that_nobody_answers_times_out_and_says_what_it_waits_for(
    api: Api, namespace: str, towline: Any, integration: str
) -> None:
    ended = towline("sync", "prod", "--timeout", "2s")
    assert ended.returncode == 3
    assert "the operator has not seen the request yet" in ended.stderr


def test_an_integration_that_needs_a_person_is_not_waited_for(
    api: Api, namespace: str, towline: Any, integration: str
) -> None:
    stalled = condition("Stalled", "True", "SecretNotFound", 'Secret "tenable" does not exist.')
    patch_status(api, namespace, "integrations", "prod", {"conditions": [stalled]})
    ended = towline("sync", "prod", "--timeout", "60s")
    assert ended.returncode == 2
    assert "SecretNotFound" in ended.stderr
    assert 'Secret "tenable" does not exist.' in ended.stderr


def test_a_suspended_integration_tells_how_to_resume_it(
    api: Api, kubectl: Kubectl, namespace: str, towline: Any, integration: str
) -> None:
    kubectl("patch", "-n", namespace, "intg", "prod", "--type=merge", "-p", '{"spec":{"suspend":true}}')
    ended = towline("sync", "prod")
    assert ended.returncode == 2
    assert "is suspended" in ended.stderr
    cure = next(line for line in ended.stderr.splitlines() if "kubectl" in line).split("kubectl ", 1)[1]
    kubectl(*cure.replace("'", "").split())
    resumed = json.loads(kubectl("get", "-n", namespace, "intg", "prod", "-o", "json"))
    assert resumed["spec"].get("suspend", False) is False


def test_a_mistyped_name_gets_the_nearest_one(towline: Any, integration: str) -> None:
    ended = towline("sync", "prd")
    assert ended.returncode == 1
    assert "Did you mean prod?" in ended.stderr


def test_status_lists_and_describes(api: Api, namespace: str, towline: Any, integration: str) -> None:
    ready = condition("Ready", "False", "CredentialsRejected", "Tenable rejects the keys: correct the Secret.")
    state = {
        "conditions": [ready],
        "effectiveSchedule": "every 1h +12s",
        "lastSuccessfulTime": "2026-01-01T00:00:00Z",
        "streams": [{"name": "assets", "checkpoint": "2026-01-01T00:00:00Z"}],
    }
    patch_status(api, namespace, "integrations", "prod", state)
    listed = towline("status")
    assert listed.returncode == 0, listed.stderr
    assert listed.stdout.splitlines()[0].split() == [
        *("NAME", "CONNECTOR", "READY", "STATUS", "LAST", "SYNC", "NEXT", "SYNC", "MESSAGE"),
    ]  # fmt: skip
    assert "CredentialsRejected" in listed.stdout
    assert namespace in towline("status", "-A").stdout
    assert towline("status", "-l", "team=blue").stdout == ""
    api.objects.patch_namespaced_custom_object(
        GROUP, VERSION, namespace, "integrations", "prod", {"metadata": {"labels": {"team": "blue"}}}
    )
    assert "prod" in towline("status", "-l", "team=blue").stdout
    described = towline("status", "prod")
    assert described.returncode == 2
    assert f"{namespace}/prod is not ready: CredentialsRejected" in described.stdout
    assert "correct the Secret." in described.stdout
    assert "every 1h +12s" in described.stdout
    for output, read in (("json", json.loads), ("yaml", yaml.safe_load)):
        (item,) = read(towline("status", "-o", output).stdout)
        found = read(towline("status", "prod", "-o", output).stdout)
        assert found["integration"]["metadata"] == item["metadata"]
        assert found["syncJobs"] == []
    assert towline("status", "-o", "name").stdout == "integration.towline.dev/prod\n"
    named = towline("status", "prod", "-o", "name")
    assert (named.returncode, named.stdout, named.stderr) == (2, "integration.towline.dev/prod\n", "")
    assert towline("status", "-o", "wide").stdout == listed.stdout


def test_an_empty_namespace_is_no_error(api: Api, towline: Any) -> None:
    ended = towline("status")
    assert (ended.returncode, ended.stdout) == (0, "")
    assert "There is no Integration in namespace" in ended.stderr


def test_who_may_not_ends_with_4_and_the_right_that_is_missing(
    api: Api, kubectl: Kubectl, namespace: str, towline: Any, integration: str, tmp_path: Path
) -> None:
    kubectl("create", "serviceaccount", "-n", namespace, "guest")
    token = kubectl("create", "token", "-n", namespace, "guest").strip()
    config = json.loads(kubectl("config", "view", "--raw", "-o", "json"))
    config["users"] = [{"name": user["name"], "user": {"token": token}} for user in config["users"]]
    file = tmp_path / "guest.kubeconfig"
    file.write_text(json.dumps(config))
    ended = towline("status", kubeconfig=file)
    assert ended.returncode == 4
    assert "You may not list integrations.towline.dev" in ended.stderr
    assert token not in ended.stderr


def test_no_cluster_is_a_sentence(towline: Any, tmp_path: Path) -> None:
    ended = towline("status", kubeconfig=tmp_path / "absent")
    assert ended.returncode == 1
    assert "there is no usable kubeconfig" in ended.stderr


def test_a_cluster_that_does_not_answer_is_a_sentence(towline: Any, kubectl: Kubectl, tmp_path: Path) -> None:
    config = json.loads(kubectl("config", "view", "--raw", "-o", "json"))
    for cluster in config["clusters"]:
        cluster["cluster"]["server"] = "https://127.0.0.1:1"
    file = tmp_path / "down.kubeconfig"
    file.write_text(json.dumps(config))
    ended = towline("status", kubeconfig=file)
    assert ended.returncode == 1
    assert "does not answer (connection refused)" in ended.stderr


def test_tab_offers_what_the_cluster_has(control_plane: Path, namespace: str, integration: str, api: Api) -> None:
    body = {"apiVersion": f"{GROUP}/{VERSION}", "kind": "SyncJob", "metadata": {"name": "by-hand"}}
    api.create({**body, "spec": {"integrationRef": {"name": integration}}}, namespace)
    in_streams = {"spec": {"streams": [{"name": "assets"}, {"name": "scans"}]}}
    api.objects.patch_namespaced_custom_object(GROUP, VERSION, namespace, "integrations", integration, in_streams)

    def offered(line: str) -> list[str]:
        place = str(len(line.split(" ")) - 1)
        asked = {"_TOWLINE_COMPLETE": "bash_complete", "COMP_WORDS": line, "COMP_CWORD": place}
        environment = {**os.environ, "KUBECONFIG": str(control_plane), "PYTHONUTF8": "1", **asked}
        command = [BIN / "towline"]
        ended = subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment, check=False)
        return [item.removeprefix("plain,") for item in ended.stdout.split()]

    assert offered(f"towline status -n {namespace} p") == [integration]
    assert offered(f"towline suspend -n {namespace} {integration} ") == []
    assert offered(f"towline sync {integration} -n {namespace} --stream a") == ["assets"]
    assert offered(f"towline sync {integration} -n {namespace} --stream ") == ["assets", "scans"]
    assert offered(f"towline cancel -n {namespace} ") == ["by-hand"]
    assert offered(f"towline logs -n {namespace} by") == ["by-hand"]
    assert offered(f"towline status -n {namespace[:-2]}") == [namespace]
    assert len(offered("towline status --context ")) == 1
