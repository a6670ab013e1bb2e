"""A node that is drained, falls silent or runs out of memory, and a pod that is evicted: each sync ends once, with all
its rows."""

from __future__ import annotations

import json
import os
import signal
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.cluster.fixtures import Running
from tests.node.installation import Towline, condition, until
from tests.node.test_killed import counts, rows

pytestmark = pytest.mark.node

# Kubernetes itself takes 80 s until it gives up the pods of a silent node.
SLOW = os.environ.get("TOWLINE_SLOW_TESTS", "") not in {"", "0"}

# Takes memory in the connector's container until the kernel ends the process that was named. Of itself the kernel would
# end whoever has the most, which is this one; where it ends the whole container (cgroups of version 2), the name is all
# the same.
EAT_MEMORY = """
import os, sys

def ours(pid):
    try:
        return pid != os.getpid() and b"towline-run" in open(f"/proc/{pid}/cmdline", "rb").read()
    except OSError:
        return False

def lives(pid):
    try:
        return "\\nState:\\tZ" not in open(f"/proc/{pid}/status").read()
    except OSError:
        return False

run, *writers = sorted(pid for pid in map(int, filter(str.isdigit, os.listdir("/proc"))) if ours(pid))
victim = run if sys.argv[1] == "run" else (writers or [run])[-1]
open(f"/proc/{victim}/oom_score_adj", "w").write("1000")
eaten = []
while lives(victim):
    eaten.append(b"x" * (1 << 20))
"""
VICTIMS = ("run", "writer")


@pytest.fixture(scope="module")
def reference(towline: Towline, namespace: str, servicenow: str) -> dict[str, Any]:
    """The rows of a sync that nobody disturbed."""
    towline.servicenow(namespace, "undisturbed", servicenow)
    assert towline.result(namespace, "undisturbed", 180)["reason"] == "Completed"
    return rows(towline.reader(namespace), "undisturbed")


def in_the_middle(towline: Towline, namespace: str, name: str) -> dict[str, Any]:
    """The pod of a sync, applied as a lingering one, that has committed some of its rows."""
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
    towline.servicenow(namespace, "evicted", servicenow, lingering=True)
    name = in_the_middle(towline, namespace, "evicted")["metadata"]["name"]
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name, "namespace": namespace}}
    path = f"/api/v1/namespaces/{namespace}/pods/{name}/eviction"
    towline.target.kubectl("create", "--raw", path, "-f", "-", stdin=json.dumps(eviction))
    expect_one_result(towline, namespace, "evicted", reference)


def test_a_drained_node_gives_its_syncs_back(
    towline: Towline, namespace: str, servicenow: str, reference: dict[str, Any]
) -> None:
    towline.servicenow(namespace, "drained", servicenow, lingering=True)
    pod = in_the_middle(towline, namespace, "drained")
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


def memory(limit: str) -> dict[str, Any]:
    """Settings of a pod that the kernel ends last when the node's memory runs out, and first at its own limit."""
    each = {"cpu": "300m", "memory": limit}
    return {"resources": {"requests": each, "limits": each}}


def eat(towline: Towline, namespace: str, pod: str, victim: str) -> dict[str, Any]:
    """How the connector's container ended after its memory was taken until the kernel ended `victim`."""
    command = ["exec", pod, "--", "python3", "-c", EAT_MEMORY, victim]
    said = towline.target.kubectl("-n", namespace, *command, check=False)  # it may be ended together with its victim

    def ended() -> dict[str, Any] | None:
        (container,) = towline.get(namespace, "pod", pod)["status"]["containerStatuses"]
        terminated: dict[str, Any] | None = container["state"].get("terminated")
        return terminated

    return until(ended, 60, lambda: said)


def test_syncs_that_run_out_of_memory_go_on_once_their_limit_is_raised(
    towline: Towline, namespace: str, servicenow: str, reference: dict[str, Any]
) -> None:
    names = {f"starved-{victim}": victim for victim in VICTIMS}
    for name in names:
        towline.servicenow(namespace, name, servicenow, lingering=True, job=memory("160Mi"))
    for name, victim in names.items():
        pod = in_the_middle(towline, namespace, name)["metadata"]["name"]
        ended = eat(towline, namespace, pod, victim)
        assert ended["reason"] == "OOMKilled", ended

        def retrying(name: str = name) -> dict[str, Any] | None:
            (run,) = towline.runs(namespace, name)
            return run["status"] if condition(run, "Succeeded").get("reason") == "Retrying" else None

        status = until(retrying, 50, lambda name=name: towline.describe(namespace, name))
        told = condition({"status": status}, "Reconciling")
        assert told["reason"] == "OutOfMemory"
        assert "its limit of 160Mi: raise spec.job.resources.limits.memory. Tries again at" in told["message"]
        assert told["message"].endswith("(failure 1 of 4)")
        assert moment(status["nextAttemptTime"]) - moment(ended["finishedAt"]) >= timedelta(seconds=60)
        patch = json.dumps({"spec": {"job": memory("512Mi")}})
        towline.target.kubectl("-n", namespace, "patch", "integration", name, "--type=merge", "-p", patch)

    for name in names:
        assert towline.result(namespace, name, 240)["reason"] == "Completed"
        (run,) = towline.runs(namespace, name)
        assert (run["status"]["attempts"], run["status"]["failures"]) == (2, 1)
        assert not condition(run, "Reconciling")
        assert rows(towline.reader(namespace), name) == reference
        towline.condition(namespace, name, "Ready", "Synced")
        warning = until(lambda name=name: events(towline, namespace, name), 20)
        assert [each["reason"] for each in warning] == ["SyncRetrying"]
        assert warning[0]["message"].startswith("OutOfMemory: ")


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


def events(towline: Towline, namespace: str, integration: str) -> list[dict[str, Any]]:
    """The warnings of an Integration and its SyncJobs."""
    names = {integration, *(run["metadata"]["name"] for run in towline.runs(namespace, integration))}
    found = towline.target.objects("-n", namespace, "events", "--field-selector=type=Warning")
    return [each for each in found if each["involvedObject"]["name"] in names]


@pytest.mark.skipif(not SLOW, reason="it takes three minutes: TOWLINE_SLOW_TESTS=1, or make chaos")
def test_a_silent_node_loses_its_syncs_and_comes_back(
    node_cluster: Running, towline: Towline, namespace: str, servicenow: str, reference: dict[str, Any]
) -> None:
    towline.servicenow(namespace, "silent", servicenow, lingering=True)
    pod = in_the_middle(towline, namespace, "silent")
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
