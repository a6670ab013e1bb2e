"""The main job: an Integration is applied, and its data is there."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hack.demo import systems
from tests.node.installation import Towline, condition, until

pytestmark = pytest.mark.node


@pytest.fixture(scope="module")
def synced(towline: Towline, namespace: str, tenable: str) -> str:
    """The Integration `tenable` of the namespace, after its first sync to the SQLite volume."""
    towline.tenable(namespace, "tenable", tenable)
    assert towline.result(namespace, "tenable")["reason"] == "Completed"
    return "tenable"


def test_the_rows_are_on_the_volume(towline: Towline, namespace: str, synced: str) -> None:
    counts = towline.reader(namespace).counts(synced)
    assert counts["asset"][0] == 300
    assert counts["asset_vulnerability"][0] == 300 * 20
    assert counts["vulnerability"][0] > 0


def test_findings_point_at_assets_and_vulnerabilities_that_are_there(
    towline: Towline, namespace: str, synced: str
) -> None:
    found = towline.reader(namespace).rows("open_vulnerabilities", synced)
    assert len(found) > 1000
    assert all(each["hostname"] for each in found[:100])


def test_kubectl_wait_ends_when_the_integration_is_ready(towline: Towline, namespace: str, synced: str) -> None:
    towline.target.kubectl("-n", namespace, "wait", "--for=condition=Ready", f"integration/{synced}", "--timeout=60s")
    run = towline.runs(namespace, synced)[-1]["metadata"]["name"]
    towline.target.kubectl(
        "-n", namespace, "wait", "--for=jsonpath={.status.completionTime}", f"syncjob/{run}", "--timeout=60s"
    )


def test_the_status_says_what_happened(towline: Towline, namespace: str, synced: str) -> None:
    towline.condition(namespace, synced, "Ready", "Synced")
    status = towline.get(namespace, "integration", synced)["status"]
    assert status["lastSuccessfulTime"]
    assert status["nextScheduleTime"]
    assert {each["name"] for each in status["streams"]} >= {"assets", "vulnerabilities"}
    run = towline.runs(namespace, synced)[-1]["status"]
    assert run["totals"]["read"] >= 300
    assert run["attempts"] == 1


def test_kubectl_shows_it_in_columns(towline: Towline, namespace: str, synced: str) -> None:
    header, row, *_ = towline.target.kubectl("-n", namespace, "get", "integrations").splitlines()
    assert header.split()[:4] == ["NAME", "CONNECTOR", "READY", "STATUS"]
    assert row.split()[:4] == ["tenable", "tenable-io", "True", "Synced"]


def test_prometheus_sees_it(towline: Towline, namespace: str, synced: str) -> None:
    labels = f'integration="{synced}",namespace="{namespace}"'

    def sample(name: str, **more: str) -> str:
        wanted = [f'{key}="{value}"' for key, value in more.items()] + labels.split(",")
        for line in towline.metrics().splitlines():
            if line.startswith(name + "{") and all(part in line for part in wanted):
                return line.rpartition(" ")[2]
        return ""

    until(lambda: sample("towline_integration_condition", type="Ready", status="True") == "1.0", 60)
    assert float(sample("towline_integration_last_success_timestamp_seconds")) > 1_700_000_000
    assert float(sample("towline_sync_runs_total", reason="Completed")) >= 1


def test_a_request_syncs_again_and_only_what_changed(towline: Towline, namespace: str, synced: str) -> None:
    before = len(towline.runs(namespace, synced))
    token = "towline.dev/requested-at=again"
    towline.target.kubectl("-n", namespace, "annotate", "integration", synced, "--overwrite", token)
    until(lambda: len(towline.runs(namespace, synced)) > before, 60)
    assert towline.result(namespace, synced)["reason"] == "Completed"
    run = towline.runs(namespace, synced)[-1]
    assert run["spec"]["trigger"] == "Manual"
    assert run["status"]["totals"]["upserted"] == 0
    assert towline.reader(namespace).counts(synced)["asset"] == (300, 0)


def test_a_syncjob_made_by_hand_runs(towline: Towline, namespace: str, synced: str) -> None:
    manifest = {
        "apiVersion": "towline.dev/v1alpha1",
        "kind": "SyncJob",
        "metadata": {"name": "by-hand", "namespace": namespace},
        "spec": {"integrationRef": {"name": synced}, "streams": ["assets"], "mode": "Full"},
    }
    towline.target.apply(manifest)

    def ended() -> dict[str, Any] | None:
        found = condition(towline.get(namespace, "syncjob", "by-hand"), "Succeeded")
        return found if found.get("status") != "Unknown" and found else None

    result = until(ended, 60, lambda: towline.describe(namespace, synced))
    assert result["reason"] == "Completed"
    status = towline.get(namespace, "syncjob", "by-hand")["status"]
    assert [each["name"] for each in status["streams"]] == ["assets"]


@pytest.fixture(scope="module")
def warehoused(towline: Towline, namespace: str, tenable: str) -> str:
    """The name of the Secret of a PostgreSQL to which the Integration `warehoused` has synced."""
    database = systems.postgresql(towline.target, namespace)
    systems.wait_for(towline.target, namespace, "postgresql")
    towline.tenable(namespace, "warehoused", tenable, destinationSecretRef={"name": database})
    assert towline.result(namespace, "warehoused")["reason"] == "Completed"
    return database


def test_rows_can_go_to_postgresql(towline: Towline, namespace: str, warehoused: str) -> None:
    counts = towline.reader(namespace, url_secret=warehoused).counts("warehoused")
    assert counts["asset"] == (300, 0)
    assert counts["asset_vulnerability"] == (300 * 20, 0)


@pytest.fixture(scope="module")
def running(towline: Towline, namespace: str, sluggish: str) -> dict[str, Any]:
    """The pod of a sync that is at work, and will be for minutes."""
    towline.servicenow(namespace, "slow", sluggish)

    def at_work() -> dict[str, Any] | None:
        pods = towline.pods(namespace, "slow")
        return pods[-1] if pods and pods[-1]["status"].get("phase") == "Running" else None

    return until(at_work, 60, lambda: towline.describe(namespace, "slow"), pause=0.1)


def towline_command(towline: Towline, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "KUBECONFIG": str(towline.target.kubeconfig), "PYTHONUTF8": "1"}
    command = [str(Path(sys.executable).with_name("towline")), *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=180, check=False)


def test_the_command_line_finds_the_pod_of_a_running_sync(
    towline: Towline, namespace: str, running: dict[str, Any]
) -> None:
    pod = running["metadata"]["name"]
    seen = towline_command(towline, "tree", "slow", "-n", namespace)
    assert f"Pod/{pod}" in seen.stdout, seen.stderr
    log = towline_command(towline, "logs", "slow", "-n", namespace)
    assert log.returncode == 0, log.stderr


LOOK = """
import json, os
def writable(path):
    try:
        open(path, "w").close()
        return True
    except OSError:
        return False
print(json.dumps({
    "uid": os.getuid(),
    "token": os.path.exists("/var/run/secrets/kubernetes.io"),
    "root": writable("/probe"),
    "home": writable("/opt/towline/probe"),
    "environment": dict(os.environ),
    "credentials": {name: oct(os.stat("/run/towline/credentials/" + name).st_mode & 0o777)
                    for name in os.listdir("/run/towline/credentials") if not name.startswith(".")},
    "capabilities": [line.split()[1] for line in open("/proc/self/status") if line.startswith("CapEff")],
    "no_new_privileges": [line.split()[1] for line in open("/proc/1/status") if line.startswith("NoNewPrivs")],
}))
"""


def test_inside_the_pod_there_is_no_token_no_root_and_nothing_to_write(
    towline: Towline, namespace: str, running: dict[str, Any]
) -> None:
    pod = running["metadata"]["name"]
    seen = json.loads(towline.target.kubectl("-n", namespace, "exec", "-i", pod, "--", "python3", "-", stdin=LOOK))
    assert seen["uid"] == 65532
    assert not seen["token"]
    assert not seen["root"]
    assert not seen["home"]
    assert set(seen["credentials"]) == {"username", "password"}
    assert set(seen["credentials"].values()) <= {"0o440", "0o400"}
    assert set(seen["capabilities"]) == {"0000000000000000"}
    assert set(seen["no_new_privileges"]) == {"1"}
    # The credentials are a file; no variable tells them, nor where other services are.
    assert "simulator" not in seen["environment"].values()
    assert not [name for name in seen["environment"] if name.endswith("_SERVICE_HOST") and "KUBERNETES" not in name]


def reading(towline: Towline, namespace: str, integration: str) -> tuple[str, dict[str, Any]] | None:
    """The SyncJob that tells of records that it has read, and what it tells."""
    for each in towline.runs(namespace, integration):
        progress: dict[str, Any] = each.get("status", {}).get("progress") or {}
        if any(stream.get("read") for stream in progress.get("streams") or []):
            return str(each["metadata"]["name"]), progress
    return None


def test_a_running_sync_tells_how_far_it_is_and_a_cancelled_one_what_stays(
    towline: Towline, namespace: str, servicenow: str
) -> None:
    towline.servicenow(namespace, "stopped", servicenow, lingering=True)
    explain = partial(towline.describe, namespace, "stopped")
    name, progress = until(lambda: reading(towline, namespace, "stopped"), 60, explain, pause=0.1)
    assert progress["stream"] in {each["name"] for each in progress["streams"]}
    assert progress["updatedTime"]
    towline.target.kubectl("-n", namespace, "annotate", "syncjob", name, "towline.dev/cancel=true")
    assert towline.result(namespace, "stopped", 90)["reason"] == "Cancelled"
    status = towline.get(namespace, "syncjob", name)["status"]
    assert "progress" not in status
    assert not [pod for pod in towline.pods(namespace, "stopped") if pod["status"]["phase"] == "Running"]
    counts = towline.reader(namespace).counts("stopped")
    assert sum(live for live, _ in counts.values()) >= status["totals"]["upserted"] > 0
    assert not towline.get(namespace, "integration", "stopped")["status"].get("consecutiveFailures")


def test_the_pod_names_no_account_but_default_and_no_token_for_the_api_server(running: dict[str, Any]) -> None:
    spec = running["spec"]
    assert spec["automountServiceAccountToken"] is False
    assert spec.get("serviceAccountName", "default") == "default"
    sources = [source for volume in spec["volumes"] for source in volume.get("projected", {}).get("sources", [])]
    tokens = [source["serviceAccountToken"] for source in sources if "serviceAccountToken" in source]
    assert [token["audience"] for token in tokens] == ["towline"]
    (container,) = spec["containers"]
    assert [each for each in container["env"] if "value" in each] == []


def test_no_credential_stands_in_any_object_but_the_secret(
    towline: Towline, namespace: str, warehoused: str, running: dict[str, Any]
) -> None:
    stored = towline.get(namespace, "secret", systems.POSTGRESQL_SECRET)["data"]["password"]
    kinds = "integrations,syncjobs,jobs,pods,events,configmaps"
    text = towline.target.kubectl("-n", namespace, "get", kinds, "-o", "yaml") + towline.metrics()
    for value in (stored, base64.b64decode(stored).decode()):
        assert value not in text


def test_the_installation_is_sound(towline: Towline, namespace: str, synced: str) -> None:
    seen = towline_command(towline, "check")
    assert seen.returncode == 0, seen.stderr
    assert "Lease renewed" in seen.stderr


def test_rows_and_activity_are_read_without_leaving_a_pod(towline: Towline, namespace: str, synced: str) -> None:
    command = ("data", "asset", "--cluster", "-n", namespace, "--claim", "towline-data", "--limit", "2", "-o", "json")
    seen = towline_command(towline, *command)
    assert seen.returncode == 0, seen.stderr
    assert {row["integration"].partition("/")[0] for row in json.loads(seen.stdout)} == {namespace}
    seen = towline_command(towline, "activity", "tenable", "--cluster", "-n", namespace, "-o", "json")
    assert seen.returncode == 0, seen.stderr
    records = json.loads(seen.stdout)
    (run,) = [one for one in records if one["kind"] == "Run" and one["trigger"] == "SpecChange"]
    assert (run["outcome"], run["records"] > 0, run["calls"] > 0, run["bytes"] > 0) == ("Completed", True, True, True)
    changed = {one["object"].partition("/")[0] for one in records if one["kind"] == "Change"}
    assert changed == {"Integration", "Connector", "Secret"}
    left = towline.target.kubectl("get", "pods", "-n", namespace, "-l", "app.kubernetes.io/managed-by=towline-cli")
    assert "towline-read" not in left or "Terminating" in left
