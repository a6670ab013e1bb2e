"""Rotated credentials on a real API server: noticed within seconds by a watch of metadata, and checked by a run."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.api.acme import CONNECTOR, integration, secret
from tests.api.operator_process import Cluster, OperatorProcess, until

pytestmark = pytest.mark.api


@pytest.fixture
def operator(control_plane: Path, cluster: Cluster, tmp_path: Path) -> Iterator[OperatorProcess]:
    # Far apart, so that only the watch can be what notices.
    options = ("--no-bundled", f"--namespace={cluster.namespace}", "--watch-secrets", "--secret-check=3000")
    process = OperatorProcess(control_plane, tmp_path / "log", (*options, "--secret-recheck=3000"))
    process.start()
    yield process
    process.stop_if_running()


def test_a_rotated_secret_is_checked_at_once_and_a_bad_one_stops_until_the_next(
    operator: OperatorProcess, cluster: Cluster
) -> None:
    cluster.apply(CONNECTOR % (f"acme-{uuid.uuid4().hex[:6]}", ""))
    cluster.apply(secret())
    cluster.apply(integration(cluster.connectors[0]))
    cluster.end_pod(cluster.wait_sync("acme"))
    cluster.wait_reason("integrations", "acme", "Synced")

    cluster.core.patch_namespaced_secret("acme-api", cluster.namespace, {"stringData": {"token": "wrong"}})
    check = cluster.wait_sync("acme")
    assert (check["spec"]["trigger"], check["spec"]["mode"]) == ("CredentialsRotated", "Check")
    until("an event", lambda: "CredentialsRotated" in [reason for _, reason, _ in cluster.events("acme")])
    cluster.end_pod(check, "CredentialsRejected", message="The system rejected the token")
    told = cluster.wait_reason("integrations", "acme", "CredentialsRejected")
    assert "Put valid credentials into the Secret" in told["message"]

    cluster.core.patch_namespaced_secret("acme-api", cluster.namespace, {"stringData": {"token": "right"}})
    cured = cluster.wait_sync("acme")
    assert cured["spec"].get("mode", "Incremental") == "Incremental"
    cluster.end_pod(cured)
    cluster.wait_reason("integrations", "acme", "Synced")
    assert "Secrets cannot be watched" not in operator.log.read_text()
