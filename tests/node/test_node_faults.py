"""A node that is drained or falls silent, and a pod that is evicted: each sync ends once, with all its rows."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
from tests.cluster.fixtures import Running
from tests.node.installation import Towline, until
from tests.node.test_killed import counts, rows

pytestmark = pytest.mark.node

# Kubernetes itself takes 80 s until it gives up the pods of a silent node.
SLOW = os.environ.get("TOWLINE_SLOW_TESTS", "") not in {"", "0"}


@pytest.fixture(scope="module")
def reference(towline: Towline, namespace: str, servicenow: str) -> dict[str, Any]:
    """The rows of a sync that nobody disturbed."""
    towline.servicenow(namespace, "undisturbed", servicenow)
    assert towline.result(namespace, "undisturbed", 180)["reason"] == "Completed"
    return rows(towline.reader(namespace), "undisturbed")


def in_the_middle(towline: Towline, namespace: str, name: str, host: str) -> dict[str, Any]:
    """The pod of a sync that has committed some of its rows."""
    towline.servicenow(namespace, name, host, lingering=True)
    reader = towline.reader(namespace)

    def at_work() -> dict[str, Any] | None:
        pods = towline.pods(namespace, name)
        some = counts(reader).get(f"{namespace}/{name}", 0) > 0
        return pods[-1] if some and pods and pods[-1]["status"].get("phase") == "Running" else None

    return until(at_work, 120, lambda: towline.describe(namespace, name))


def expect_one_result(towline: Towline, namespace: str, name: str, reference: dict[str, Any]) -> None:
    """Another attempt that does not count as a failure, and the rows of an undisturbed sync."""
    assert towline.result(namespace, name, 240)["reason"] == "Completed"
    (run,) = towline.runs(namespace, name)
    assert run["status"]["attempts"] == 2
    assert run["status"].get("failures", 0) == 0
    assert rows(towline.reader(namespace), name) == reference


def test_an_evicted_pod_is_followed_by_another_attempt(
    towline: Towline, namespace: str, servicenow: str, reference: dict[str, Any]
) -> None:
    name = in_the_middle(towline, namespace, "evicted", servicenow)["metadata"]["name"]
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name, "namespace": namespace}}
    path = f"/api/v1/namespaces/{namespace}/pods/{name}/eviction"
    towline.target.kubectl("create", "--raw", path, "-f", "-", stdin=json.dumps(eviction))
    expect_one_result(towline, namespace, "evicted", reference)


def test_a_drained_node_gives_its_syncs_back(
    towline: Towline, namespace: str, servicenow: str, reference: dict[str, Any]
) -> None:
    pod = in_the_middle(towline, namespace, "drained", servicenow)
    node = pod["spec"]["nodeName"]
    try:
        # Only this sync's pod: the cluster has one node, and everything else of the tests runs on it as well.
        own = "--pod-selector=towline.dev/integration=drained"
        towline.target.kubectl("drain", node, own, "--ignore-daemonsets", "--delete-emptydir-data", timeout=120)
        until(lambda: len(towline.runs(namespace, "drained")) == 1, 5)
        until(lambda: towline.runs(namespace, "drained")[0]["status"].get("attempts") == 2, 60)
    finally:
        towline.target.kubectl("uncordon", node)
    expect_one_result(towline, namespace, "drained", reference)


@pytest.mark.skipif(not SLOW, reason="it takes three minutes: TOWLINE_SLOW_TESTS=1, or make chaos")
def test_a_silent_node_loses_its_syncs_and_comes_back(
    node_cluster: Running, towline: Towline, namespace: str, servicenow: str, reference: dict[str, Any]
) -> None:
    pod = in_the_middle(towline, namespace, "silent", servicenow)
    kubelet = kubelet_of(pod["spec"]["nodeName"])
    if kubelet is None:
        pytest.skip("the node's kubelet is not on this machine")
    os.kill(kubelet, signal.SIGSTOP)
    try:
        # 50 s until the node counts as lost, 30 s of tolerance, 15 s for the pod to go, and some seconds of looking.
        until(lambda: towline.runs(namespace, "silent")[0]["status"].get("attempts") == 2, 150)
    finally:
        os.kill(kubelet, signal.SIGCONT)
    towline.target.kubectl("wait", "--for=condition=Ready", f"node/{pod['spec']['nodeName']}", "--timeout=90s")
    expect_one_result(towline, namespace, "silent", reference)


def kubelet_of(node: str) -> int | None:
    """The process id of a node's kubelet on this machine."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            command = (folder / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if Path(command[0].decode(errors="replace")).name.startswith("kubelet") and (
            f"--hostname-override={node}".encode() in command
        ):
            return int(folder.name)
    return None
