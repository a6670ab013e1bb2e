"""A node that is drained, falls silent or runs out of memory, and a pod that is evicted: each sync ends once, with all
its rows."""

from __future__ import annotations

import json
import os
import signal
from dataclasses import dataclass
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
STARVED = {"starved": "run", "half-starved": "writer"}
"""The Integrations whose syncs run out of memory, and which of a run's two processes the kernel ends."""


@pytest.fixture(scope="module")
def reference(towline: Towline, namespace: str, servicenow: str) -> dict[str, Any]:
    """The rows of a sync that nobody disturbed."""
    towline.servicenow(namespace, "undisturbed", servicenow)
    assert towline.result(namespace, "undisturbed", 180)["reason"] == "Completed"
    return rows(towline.reader(namespace), "undisturbed")


@dataclass(frozen=True)
class Starved:
    """What was seen of a sync that ran out of memory: the end of its container, and the SyncJob after it."""

    ended: dict[str, Any]
    run: dict[str, Any]


@pytest.fixture(scope="module")
def struck(towline: Towline, namespace: str, servicenow: str, reference: dict[str, Any]) -> dict[str, Starved]:
    """Syncs, each struck once in the middle and then left alone; what was seen of those that ran out of memory."""
    evict(towline, namespace, in_the_middle(towline, namespace, "evicted", servicenow))
    seen = {}
    for name, victim in STARVED.items():
        pod = in_the_middle(towline, namespace, name, servicenow, job=memory("160Mi"))
        seen[name] = starve(towline, namespace, pod, victim)
    drain(towline, namespace, in_the_middle(towline, namespace, "drained", servicenow))
    return seen


def in_the_middle(towline: Towline, namespace: str, name: str, host: str, **spec: Any) -> dict[str, Any]:
    """The pod of a sync that has committed some of its rows."""
    towline.servicenow(namespace, name, host, lingering=True, **spec)
    reader = towline.reader(namespace)

    def at_work() -> dict[str, Any] | None:
        pods = towline.pods(namespace, name)
        some = counts(reader).get(f"{namespace}/{name}", 0) > 0
        return pods[-1] if some and pods and pods[-1]["status"].get("phase") == "Running" else None

    return until(at_work, 120, lambda: towline.describe(namespace, name))


def evict(towline: Towline, namespace: str, pod: dict[str, Any]) -> None:
    name = pod["metadata"]["name"]
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name, "namespace": namespace}}
    path = f"/api/v1/namespaces/{namespace}/pods/{name}/eviction"
    towline.target.kubectl("create", "--raw", path, "-f", "-", stdin=json.dumps(eviction))


def drain(towline: Towline, namespace: str, pod: dict[str, Any]) -> None:
    """Drain the pod's node until another attempt waits for one."""
    node, integration = pod["spec"]["nodeName"], pod["metadata"]["labels"]["towline.dev/integration"]
    try:
        # Only this sync's pod: the cluster has one node, and everything else of the tests runs on it as well.
        own = f"--pod-selector=towline.dev/integration={integration}"
        towline.target.kubectl("drain", node, own, "--ignore-daemonsets", "--delete-emptydir-data", timeout=120)
        until(lambda: towline.runs(namespace, integration)[0]["status"].get("attempts") == 2, 60)
    finally:
        towline.target.kubectl("uncordon", node)


def memory(limit: str) -> dict[str, Any]:
    """Settings of a pod that the kernel ends last when the node's memory runs out, and first at its own limit."""
    each = {"cpu": "300m", "memory": limit}
    return {"resources": {"requests": each, "limits": each}}


def starve(towline: Towline, namespace: str, pod: dict[str, Any], victim: str) -> Starved:
    """Take the memory of a sync's container until the kernel ends `victim`; then raise the limit."""
    integration = pod["metadata"]["labels"]["towline.dev/integration"]
    command = ["exec", pod["metadata"]["name"], "--", "python3", "-c", EAT_MEMORY, victim]
    said = towline.target.kubectl("-n", namespace, *command, check=False)  # it may be ended together with its victim

    def over() -> dict[str, Any] | None:
        (container,) = towline.get(namespace, "pod", pod["metadata"]["name"])["status"]["containerStatuses"]
        terminated: dict[str, Any] | None = container["state"].get("terminated")
        return terminated

    def retrying() -> dict[str, Any] | None:
        (run,) = towline.runs(namespace, integration)
        return run if condition(run, "Succeeded").get("reason") == "Retrying" else None

    ended = until(over, 60, lambda: said)
    run = until(retrying, 60, lambda: towline.describe(namespace, integration))
    patch = json.dumps({"spec": {"job": memory("512Mi")}})
    towline.target.kubectl("-n", namespace, "patch", "integration", integration, "--type=merge", "-p", patch)
    return Starved(ended, run)


@pytest.mark.parametrize("name", ["evicted", "drained"])
def test_a_sync_whose_pod_was_sent_away_goes_on_in_another_attempt_that_does_not_count(
    towline: Towline, namespace: str, struck: dict[str, Starved], reference: dict[str, Any], name: str
) -> None:
    expect_one_result(towline, namespace, name, reference)


@pytest.mark.parametrize("name", STARVED)
def test_a_sync_that_runs_out_of_memory_goes_on_once_its_limit_is_raised(
    towline: Towline, namespace: str, struck: dict[str, Starved], reference: dict[str, Any], name: str
) -> None:
    ended, before = struck[name].ended, struck[name].run
    assert ended["reason"] == "OOMKilled", ended
    told = condition(before, "Reconciling")
    assert told["reason"] == "OutOfMemory"
    assert "its limit of 160Mi: raise spec.job.resources.limits.memory. Tries again at" in told["message"]
    assert told["message"].endswith("(failure 1 of 4)")
    again = datetime.fromisoformat(before["status"]["nextAttemptTime"])
    assert again >= datetime.fromisoformat(ended["finishedAt"]) + timedelta(seconds=60)

    expect_one_result(towline, namespace, name, reference, failures=1)
    (run,) = towline.runs(namespace, name)
    assert not condition(run, "Reconciling")
    towline.condition(namespace, name, "Ready", "Synced")
    warnings = towline.target.objects("-n", namespace, "events", "--field-selector=type=Warning")
    own = [each for each in warnings if each["involvedObject"]["name"] in {name, run["metadata"]["name"]}]
    assert [each["reason"] for each in own] == ["SyncRetrying"]
    assert own[0]["message"].startswith("OutOfMemory: ")


def expect_one_result(
    towline: Towline, namespace: str, name: str, reference: dict[str, Any], failures: int = 0
) -> None:
    """One more attempt, and the rows of an undisturbed sync."""
    assert towline.result(namespace, name, 240)["reason"] == "Completed"
    (run,) = towline.runs(namespace, name)
    assert (run["status"]["attempts"], run["status"].get("failures", 0)) == (2, failures)
    assert rows(towline.reader(namespace), name) == reference


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
