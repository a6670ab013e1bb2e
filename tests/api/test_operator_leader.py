"""Two operators on a real API server: one leads, the other takes over, and no run is made twice."""

from __future__ import annotations

import os
import signal
import subprocess
import urllib.error
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kubernetes import client
from tests.api.acme import CONNECTOR, integration, secret
from tests.api.client import Api
from tests.api.operator_process import DEADLINE, Cluster, OperatorProcess, container, until
from tests.chaos.proxy import Faults, Proxy

pytestmark = pytest.mark.api
# The Lease has its usual length: with a shorter one a leader gives up where a crowded machine holds up its API server.
OPTIONS = ("--leader-elect", "--no-bundled", "--secret-recheck=1", "--resync=3600")


@pytest.fixture
def cluster(api: Api) -> Iterator[Cluster]:
    name = f"leader-{uuid.uuid4().hex[:8]}"
    api.core.create_namespace({"metadata": {"name": name}})
    found = Cluster(api.objects, api.core, client.BatchV1Api(api.core.api_client), name)
    yield found
    found.remove()


@pytest.fixture
def pair(control_plane: Path, cluster: Cluster, tmp_path: Path) -> Iterator[tuple[OperatorProcess, OperatorProcess]]:
    """Two operators, the first of which leads; their Lease stands in the namespace of the test."""
    options = (*OPTIONS, f"--lease-namespace={cluster.namespace}")
    made = [OperatorProcess(control_plane, tmp_path / f"log-{number}", options) for number in (1, 2)]
    made[0].start()
    until("the first leads", lambda: leads(made[0]))
    made[1].start()
    yield made[0], made[1]
    for process in made:
        process.stop_if_running()


def leads(process: OperatorProcess) -> bool:
    return "towline_leader 1.0" in process.get("/metrics")


def epoch(process: OperatorProcess) -> float:
    line = next(one for one in process.get("/metrics").splitlines() if one.startswith("towline_leader_epoch "))
    return float(line.split()[1])


def acme(cluster: Cluster) -> None:
    name = f"acme-{uuid.uuid4().hex[:6]}"
    cluster.apply(CONNECTOR % (name, ""))
    cluster.apply(secret())
    cluster.apply(integration(name))


def request(cluster: Cluster, token: str) -> None:
    cluster.patch("integrations", "acme", {"metadata": {"annotations": {"towline.dev/requested-at": token}}})


def holder(cluster: Cluster) -> Any:
    leases = client.CoordinationV1Api(cluster.core.api_client)
    return leases.read_namespaced_lease("towline-operator", cluster.namespace).spec


def test_one_leads_and_the_other_is_ready_and_writes_nothing(
    pair: tuple[OperatorProcess, OperatorProcess], cluster: Cluster
) -> None:
    first, second = pair
    assert (leads(first), leads(second)) == (True, False)
    acme(cluster)
    cluster.wait_sync("acme")
    assert first.get("/readyz") == second.get("/readyz") == "ok\n"
    assert "towline_reconcile_duration_seconds_count" in first.get("/metrics")
    assert "towline_reconcile_duration_seconds_count{" not in second.get("/metrics")


def test_a_stand_by_stays_ready_while_it_takes_over(cluster: Cluster, control_plane: Path, tmp_path: Path) -> None:
    """It applies all bundled Connectors first. Counted as gone meanwhile, there would be one operator too few in the
    middle of a rolling update."""
    options = (*(each for each in OPTIONS if each != "--no-bundled"), f"--lease-namespace={cluster.namespace}")
    proxy = Proxy(control_plane, seed=0)
    paths = (control_plane, proxy.start(tmp_path))
    pair = [OperatorProcess(path, tmp_path / f"log-{number}", options) for number, path in enumerate(paths)]
    first, second = pair
    said: set[str] = set()

    def at_work() -> bool:
        said.add(answer(second, "/readyz"))
        return "towline_reconcile_duration_seconds_count{" in second.get("/metrics")

    try:
        for process in pair:
            process.start()
        acme(cluster)
        cluster.wait_sync("acme")
        proxy.faults = Faults(hold="/connectors")
        assert first.stop() == 0
        until("the other one leads", lambda: leads(second))
        assert not at_work(), "it leads, and the first Connector is not written yet"
        proxy.heal()
        until("the other one is at work", at_work)
        assert said == {"ok\n"}
    finally:
        for process in pair:
            process.stop_if_running()
        proxy.stop()


def answer(process: OperatorProcess, path: str) -> str:
    """What it says, whatever its status code."""
    try:
        return process.get(path)
    except urllib.error.HTTPError as error:
        return error.read().decode()


def test_a_killed_leader_is_replaced_within_its_lease_and_its_work_goes_on(
    pair: tuple[OperatorProcess, OperatorProcess], cluster: Cluster
) -> None:
    first, second = pair
    acme(cluster)
    sync = cluster.wait_sync("acme")
    cluster.wait_pod(f"{sync['metadata']['name']}-1")
    before = epoch(first)
    first.kill()
    cluster.end_pod(sync)
    until("the other leads", lambda: leads(second))
    assert epoch(second) == before + 1
    cluster.wait_reason("integrations", "acme", "Synced")
    assert [one["metadata"]["name"] for one in cluster.syncs()] == [sync["metadata"]["name"]]
    assert cluster.get("syncjobs", sync["metadata"]["name"])["status"]["attempts"] == 1


def test_a_leader_that_is_stopped_gives_the_lease_back_at_once(
    pair: tuple[OperatorProcess, OperatorProcess], cluster: Cluster
) -> None:
    first, second = pair
    led_by = holder(cluster).holder_identity
    assert first.stop() == 0
    until("the other leads", lambda: leads(second))
    spec = holder(cluster)
    assert spec.holder_identity != led_by
    assert "could not be renewed" not in first.log.read_text()
    acme(cluster)
    cluster.wait_sync("acme")


def test_a_leader_that_slept_through_its_lease_ends_instead_of_writing(
    pair: tuple[OperatorProcess, OperatorProcess], cluster: Cluster
) -> None:
    first, second = pair
    acme(cluster)
    sync = cluster.wait_sync("acme")
    assert first.process is not None
    os.kill(first.process.pid, signal.SIGSTOP)
    until("the other leads", lambda: leads(second))
    request(cluster, "while-it-sleeps")
    os.kill(first.process.pid, signal.SIGCONT)
    try:
        assert first.process.wait(DEADLINE) == 1
    except subprocess.TimeoutExpired:
        pytest.fail(f"the old leader still runs: {first.log.read_text()[-2000:]}")
    cluster.end_pod(sync)
    second_sync = cluster.wait_sync("acme")
    cluster.wait_pod(f"{second_sync['metadata']['name']}-1")
    assert len(cluster.syncs()) == 2
    assert leads(second)


def test_a_rolling_update_disturbs_no_running_sync(
    pair: tuple[OperatorProcess, OperatorProcess], cluster: Cluster, control_plane: Path, tmp_path: Path
) -> None:
    """As the Deployment does it: a new one is ready, then an old one goes, twice."""
    acme(cluster)
    sync = cluster.wait_sync("acme")
    name = sync["metadata"]["name"]
    pod = cluster.wait_pod(f"{name}-1")
    cluster.pod_status(pod, {"phase": "Running", **container({"running": {"startedAt": "2026-01-01T00:00:00Z"}})})
    cluster.wait_reason("syncjobs", name, "Running")
    options = (*OPTIONS, f"--lease-namespace={cluster.namespace}")
    new = [OperatorProcess(control_plane, tmp_path / f"new-{number}", options) for number in (1, 2)]
    try:
        for old, fresh in zip(pair, new, strict=True):
            fresh.start()
            assert old.stop() == 0
        until("one of the new ones leads", lambda: any(leads(one) for one in new))
        found = cluster.get("syncjobs", name)["status"]
        assert (found["attempts"], cluster.wait_pod(f"{name}-1").metadata.uid) == (1, pod.metadata.uid)
        cluster.end_pod(sync)
        cluster.wait_reason("syncjobs", name, "Completed")
        assert len(cluster.syncs()) == 1
    finally:
        for one in new:
            one.stop_if_running()
