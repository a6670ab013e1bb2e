"""`towline test` and `towline cancel` of a cluster against a real operator; the tests are the kubelet."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.api.acme import CONNECTOR, integration, secret
from tests.api.operator_process import Cluster, OperatorProcess, container, until

pytestmark = pytest.mark.api
MORE = """
  - name: admins
    request: {path: /admins}
    sync: {mode: Full}
    emit: [{entity: user, key: id, fields: {name: "=name"}}]
  - name: logs
    request: {path: /logs}
    sync: {mode: Full}
    emit: [{entity: event, key: id, fields: {message: "=text"}}]
"""


@pytest.fixture(scope="module")
def operator(control_plane: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OperatorProcess]:
    options = ("--no-bundled", "--lease-name=acting")
    process = OperatorProcess(control_plane, tmp_path_factory.mktemp("acting") / "log", options)
    process.start()
    yield process
    process.stop_if_running()


@pytest.fixture
def synced(operator: OperatorProcess, cluster: Cluster) -> Cluster:
    """An Integration `acme` whose first sync is over."""
    cluster.apply(CONNECTOR % (f"acme-{uuid.uuid4().hex[:6]}", MORE))
    cluster.apply(secret())
    cluster.apply(integration(cluster.connectors[0]))
    cluster.end_pod(cluster.wait_sync("acme"))
    cluster.wait_reason("integrations", "acme", "Synced")
    return cluster


def typed(kubeconfig: Path, *arguments: str) -> subprocess.Popen[str]:
    command = [str(Path(sys.executable).with_name("towline")), *arguments]
    environment = {**os.environ, "KUBECONFIG": str(kubeconfig), "PYTHONUTF8": "1"}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


def ended(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, talk = process.communicate(timeout=90)
    return process.returncode, out, talk


def check_of(cluster: Cluster) -> dict[str, Any]:
    """The SyncJob that `towline test` has made, at work."""
    sync = cluster.wait_sync("acme")
    assert (sync["spec"]["mode"], sync["spec"]["trigger"]) == ("Check", "Manual")
    assert sync["metadata"]["ownerReferences"][0]["name"] == "acme", "or it would stay for ever"
    return sync


def test_an_account_of_the_cluster_is_tried_stream_by_stream(synced: Cluster, control_plane: Path) -> None:
    process = typed(control_plane, "test", "acme", "-n", synced.namespace)
    sync = check_of(synced)
    assert sync["spec"]["streams"] == ["hosts", "admins", "logs"]
    found = [
        {"name": "hosts", "read": 100},
        {"name": "admins", "skipped": "PermissionDenied: Give the account the right admin.read"},
        {"name": "logs", "skipped": "not tried: an export job would have to be made for it"},
    ]
    synced.end_pod(sync, "PartiallyCompleted", message="admins: PermissionDenied", streams=found)
    code, out, talk = ended(process)
    assert (code, out) == (2, "")
    assert "✔ credentials: accepted" in talk
    assert "✔ hosts: 100 records in the first page" in talk
    assert "✗ admins: PermissionDenied: Give the account the right admin.read" in talk
    assert "! logs: not tried: an export job" in talk
    # Trying is no sync: what the Integration says of its own syncs stays.
    assert synced.condition("integrations", "acme")["reason"] == "Synced"


def test_one_stream_is_tried_and_the_answer_is_data(synced: Cluster, control_plane: Path) -> None:
    process = typed(control_plane, "test", "acme", "-n", synced.namespace, "--stream", "hosts", "-o", "json")
    sync = check_of(synced)
    assert sync["spec"]["streams"] == ["hosts"]
    synced.end_pod(sync, streams=[{"name": "hosts", "read": 7}])
    code, out, _talk = ended(process)
    assert code == 0
    assert [(each["stream"], each["verdict"]) for each in json.loads(out)] == [("", "fine"), ("hosts", "fine")]
    assert json.loads(out)[1]["records"] == 7


def test_who_tries_learns_at_once_what_towline_would_try_again(synced: Cluster, control_plane: Path) -> None:
    process = typed(control_plane, "test", "acme", "-n", synced.namespace)
    sync = check_of(synced)
    synced.end_pod(sync, "Unreachable", message="api.acme.example does not answer")
    code, _out, talk = ended(process)
    assert code == 2
    assert "✗ credentials: " in talk
    assert "api.acme.example does not answer" in talk
    synced.wait_reason("syncjobs", sync["metadata"]["name"], "Cancelled")


def test_a_suspended_integration_is_not_tried(synced: Cluster, control_plane: Path) -> None:
    synced.patch("integrations", "acme", {"spec": {"suspend": True}})
    code, _out, talk = ended(typed(control_plane, "test", "acme", "-n", synced.namespace))
    assert code == 2
    assert f"towline resume acme -n {synced.namespace}" in talk


def test_some_streams_are_synced_by_a_syncjob_that_the_integration_tidies_up(
    synced: Cluster, control_plane: Path
) -> None:
    asked = ("--stream", "admins", "--stream", "logs", "--full")
    process = typed(control_plane, "sync", "acme", "-n", synced.namespace, *asked)
    sync = synced.wait_sync("acme")
    assert (sync["spec"]["streams"], sync["spec"]["mode"]) == (["admins", "logs"], "Full")
    owner = sync["metadata"]["ownerReferences"][0]
    assert (owner["kind"], owner["name"], owner["controller"]) == ("Integration", "acme", True)
    synced.end_pod(sync, streams=[{"name": "admins", "read": 3, "upserted": 2, "full": True}, {"name": "logs"}])
    code, out, talk = ended(process)
    assert (code, out) == (0, ""), talk
    assert "read 3   changed 2" in talk
    done = synced.get("syncjobs", sync["metadata"]["name"])["status"]
    assert done["actor"].endswith("(towline-cli)")
    assert done["actor"] != "(towline-cli)"
    code, _out, talk = ended(typed(control_plane, "sync", "acme", "-n", synced.namespace, "--stream", "admns"))
    assert code == 1
    assert "Did you mean admins?" in talk


def test_what_runs_is_cancelled_by_the_name_of_its_integration(synced: Cluster, control_plane: Path) -> None:
    synced.apply(
        "apiVersion: towline.dev/v1alpha1\nkind: SyncJob\nmetadata: {name: by-hand}\n"
        "spec: {integrationRef: {name: acme}}"
    )
    pod = synced.wait_pod("by-hand-1")
    synced.pod_status(pod, {"phase": "Running", **container({"running": {"startedAt": "2026-01-01T00:00:00Z"}})})
    synced.wait_reason("syncjobs", "by-hand", "Running")
    code, out, talk = ended(typed(control_plane, "cancel", "acme", "-n", synced.namespace))
    assert (code, out) == (0, ""), talk
    assert "asked SyncJob by-hand to stop" in talk
    assert "✔ by-hand: Cancelled" in talk
    assert synced.condition("syncjobs", "by-hand", "Succeeded")["reason"] == "Cancelled"
    until("its Job is gone", lambda: not [job for job in synced.jobs() if job.metadata.name == "by-hand-1"])


def test_cancelling_where_nothing_runs_says_so_and_a_mistyped_name_gets_the_nearest(
    synced: Cluster, control_plane: Path
) -> None:
    code, _out, talk = ended(typed(control_plane, "cancel", "acme", "-n", synced.namespace))
    assert code == 0
    assert "nothing is running or waiting" in talk
    code, _out, talk = ended(typed(control_plane, "cancel", "acmee", "-n", synced.namespace))
    assert code == 1
    assert "Did you mean acme?" in talk
