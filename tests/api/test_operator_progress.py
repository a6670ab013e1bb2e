"""Progress of a running sync through a real API server: real tokens of real pods, and tokens of others."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kubernetes import client
from tests.api.acme import CONNECTOR, integration, metric, secret
from tests.api.client import Api
from tests.api.operator_process import Cluster, OperatorProcess, container, until
from tests.cluster.network import free_port

pytestmark = pytest.mark.api


@pytest.fixture
def cluster(api: Api) -> Iterator[Cluster]:
    name = f"progress-{uuid.uuid4().hex[:8]}"
    api.core.create_namespace({"metadata": {"name": name}})
    found = Cluster(api.objects, api.core, client.BatchV1Api(api.core.api_client), name)
    yield found
    found.remove()


class Told(OperatorProcess):
    """An operator with a door for reports."""

    door: int = 0

    def tell(self, token: str, sync: dict[str, Any], read: int, attempt: int = 1) -> int:
        report = {
            "sync_uid": sync["metadata"]["uid"],
            "attempt": attempt,
            "stream": "hosts",
            "streams": [{"name": "hosts", "read": read, "upserted": 3}],
            "rate": 250,
        }
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.door}/v1/progress",
            json.dumps(report).encode(),
            {"Authorization": f"Bearer {token}"},
        )
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            return error.code


@pytest.fixture
def operator(control_plane: Path, cluster: Cluster, tmp_path: Path) -> Iterator[Told]:
    door = free_port()
    options = (
        "--no-bundled",
        f"--namespace={cluster.namespace}",
        f"--progress-port={door}",
        f"--progress-url=http://operator.example:{door}/v1/progress",
    )
    process = Told(control_plane, tmp_path / "log", options)
    process.door = door
    process.start()
    yield process
    process.stop_if_running()


def token(cluster: Cluster, pod: Any, audience: str = "towline") -> str:
    """As the kubelet asks for it."""
    bound = {"kind": "Pod", "apiVersion": "v1", "name": pod.metadata.name, "uid": pod.metadata.uid}
    body = {"spec": {"audiences": [audience], "expirationSeconds": 600, "boundObjectRef": bound}}
    made = cluster.core.create_namespaced_service_account_token("default", cluster.namespace, body)
    return str(made.status.token)


def test_a_running_sync_tells_how_far_it_is_and_nobody_else_can(operator: Told, cluster: Cluster) -> None:
    cluster.apply(CONNECTOR % (f"acme-{uuid.uuid4().hex[:6]}", ""))
    cluster.apply(secret())
    cluster.apply(integration(cluster.connectors[0]))
    sync = cluster.wait_sync("acme")
    name = sync["metadata"]["name"]
    pod = cluster.wait_pod(f"{name}-1")
    cluster.pod_status(pod, {"phase": "Running", **container({"running": {"startedAt": "2026-01-01T00:00:00Z"}})})
    cluster.wait_reason("syncjobs", name, "Running")
    mine = token(cluster, pod)

    assert operator.tell("forged", sync, 1) == 401
    assert operator.tell(token(cluster, pod, "https://kubernetes.default.svc"), sync, 1) == 401
    meta = {"name": "stranger", "namespace": cluster.namespace}
    spec = {"containers": [{"name": "c", "image": "x"}], "nodeSelector": {"towline.dev/tests": "nowhere"}}
    stranger = cluster.core.create_namespaced_pod(cluster.namespace, {"metadata": meta, "spec": spec})
    assert operator.tell(token(cluster, stranger), sync, 1) == 403
    assert operator.tell(mine, sync, 1, attempt=2) == 409
    assert "progress" not in cluster.get("syncjobs", name)["status"]

    assert operator.tell(mine, sync, 1234) == 204
    progress = until("progress", lambda: cluster.get("syncjobs", name)["status"].get("progress"))
    assert (progress["stream"], progress["read"], progress["recordsPerSecond"]) == ("hosts", 1234, 250)
    assert progress["streams"] == [{"name": "hosts", "read": 1234, "upserted": 3}]
    assert operator.tell(mine, sync, 1235) == 429
    assert metric(operator, "towline_progress_reports_total", 'code="204"')

    cluster.end_pod(sync)
    cluster.wait_reason("syncjobs", name, "Completed")
    assert "progress" not in cluster.get("syncjobs", name)["status"]
    assert operator.tell(mine, sync, 2000) in {403, 409}
    assert mine not in cluster.everything() + operator.log.read_text()
