"""Probes of a real HTTP server by a real operator: what they change in a status, and that rejection rests."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from tests.api.acme import CONNECTOR, SECRET_VALUE, integration, metric, secret
from tests.api.operator_process import Cluster, OperatorProcess

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


def test_a_probe_finds_a_system_healthy_and_rejected_credentials_rest_until_they_change(
    operator: OperatorProcess, cluster: Cluster, system: System
) -> None:
    base = f"127.0.0.1:{system.server_address[1]}"
    text = CONNECTOR % (f"acme-{uuid.uuid4().hex[:6]}", "  health: {request: {path: /me}, every: 30s}")
    text = text.replace("https://api.acme.example", f"http://{base}").replace("[api.acme.example,", "[127.0.0.1,")
    cluster.apply(text)
    cluster.wait_reason("connectors", cluster.connectors[0], "Valid")
    cluster.apply(secret())
    cluster.apply(integration(cluster.connectors[0], more="suspend: false"))
    cluster.wait_reason("integrations", "acme", "Reachable", "Healthy")
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
