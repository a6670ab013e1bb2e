"""Probes of a real HTTP server by a real operator: what they change in a status, and that rejection rests."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from tests.api.acme import CONNECTOR, SECRET_VALUE, integration, metric, request, secret
from tests.api.operator_process import Cluster, OperatorProcess

from towline.contract import PLAN_ANNOTATION, Plan

pytestmark = pytest.mark.api


class System(ThreadingHTTPServer):
    """A system with one token."""

    def __init__(self) -> None:
        self.tokens: list[str] = []
        self.accepted = SECRET_VALUE
        super().__init__(("127.0.0.1", 0), Handler)


class Handler(BaseHTTPRequestHandler):
    server: System

    def do_GET(self) -> None:
        token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        self.server.tokens.append(token)
        self.send_response(200 if token == self.server.accepted else 401)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.fixture
def system() -> Iterator[System]:
    server = System()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join(10)


@pytest.fixture
def operator(control_plane: Path, cluster: Cluster, tmp_path: Path) -> Iterator[OperatorProcess]:
    options = ("--no-bundled", "--secret-recheck=1", "--secret-check=3", f"--namespace={cluster.namespace}")
    process = OperatorProcess(control_plane, tmp_path / "log", options)
    process.start()
    yield process
    process.stop_if_running()


def healthy(cluster: Cluster, system: System, every: str = "30s") -> None:
    """An Integration whose credentials the system accepts, and that nobody asks to sync."""
    base = f"127.0.0.1:{system.server_address[1]}"
    text = CONNECTOR % (f"acme-{uuid.uuid4().hex[:6]}", f"  health: {{request: {{path: /me}}, every: {every}}}")
    text = text.replace("https://api.acme.example", f"http://{base}").replace("[api.acme.example,", "[127.0.0.1,")
    cluster.apply(text)
    cluster.wait_reason("connectors", cluster.connectors[0], "Valid")
    cluster.apply(secret())
    cluster.apply(integration(cluster.connectors[0], more="suspend: false"))
    cluster.wait_reason("integrations", "acme", "Reachable", "Healthy")


def test_a_probe_finds_a_system_healthy_and_rejected_credentials_rest_until_they_change(
    operator: OperatorProcess, cluster: Cluster, system: System
) -> None:
    healthy(cluster, system, every="1000d")  # its second call would come by itself somewhere within `every`
    health = cluster.get("integrations", "acme")["status"]["health"]
    assert health["state"] == "Healthy"
    assert system.tokens == [SECRET_VALUE]
    place = f'namespace="{cluster.namespace}"'
    assert metric(operator, "towline_integration_health", place, 'state="Healthy"')
    cluster.core.patch_namespaced_secret("acme-api", cluster.namespace, {"stringData": {"token": "wrong"}})
    cluster.wait_reason("integrations", "acme", "Rejected", "CredentialsValid")
    rejected = system.tokens.count("wrong")
    cluster.core.patch_namespaced_secret("acme-api", cluster.namespace, {"stringData": {"token": "new"}})
    system.accepted = "new"
    cluster.wait_reason("integrations", "acme", "Accepted", "CredentialsValid")
    assert "new" in system.tokens
    assert rejected <= 2, "an account that is locked helps nobody"
    assert system.tokens.count("wrong") == rejected
    assert SECRET_VALUE not in cluster.everything() + operator.log.read_text()


def test_checks_that_no_run_has_recorded_outlive_the_operator(
    operator: OperatorProcess, cluster: Cluster, system: System
) -> None:
    healthy(cluster, system)
    cluster.core.patch_namespaced_secret("acme-api", cluster.namespace, {"stringData": {"token": "wrong"}})
    cluster.wait_reason("integrations", "acme", "Rejected", "CredentialsValid")
    before = cluster.get("integrations", "acme")["status"]["checks"]
    assert [one["outcome"] for one in before["unrecorded"]] == ["Reachable"]
    assert before["outcome"] == "CredentialsRejected"
    operator.kill()
    system.accepted = "wrong"
    operator.start()
    cluster.wait_reason("integrations", "acme", "Accepted", "CredentialsValid")
    request(cluster, "t-1")
    sync = cluster.wait_sync("acme")
    job = f"{sync['metadata']['name']}-1"
    plan = Plan.model_validate_json(cluster.wait_pod(job).metadata.annotations[PLAN_ANNOTATION])
    seen = [entry for entry in plan.sync.origin.seen if entry.kind == "Check"]
    assert [entry.outcome for entry in seen] == ["Reachable", "CredentialsRejected", "Reachable"]
    assert [entry.time for entry in seen[:2]] == [before["unrecorded"][0]["since"], before["since"]]
    assert len({entry.id for entry in seen}) == 3
    kept = [one["outcome"] for one in cluster.get("integrations", "acme")["status"]["checks"]["unrecorded"]]
    assert kept == ["Reachable", "CredentialsRejected"], "nobody has told yet that it is recorded"
    cluster.end_pod(sync, streams=[{"name": "hosts", "read": 10}])
    cluster.wait_reason("integrations", "acme", "Synced")
    done = cluster.get("syncjobs", sync["metadata"]["name"])["status"]["checksRecordedUntil"]
    assert done == seen[-1].finished
    after = cluster.get("integrations", "acme")["status"]["checks"]
    assert (after["outcome"], after["recorded"], "unrecorded" in after) == ("Reachable", True, False)
