"""The cluster that the tests and the demo stand on: it runs pods as any Kubernetes does, and leaves nothing behind."""

import json
import os
import subprocess
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.cluster import lifecycle, processes
from tests.cluster.fixtures import Running
from tests.cluster.record import load

pytestmark = pytest.mark.node

SECURE_POD = {
    "runAsNonRoot": True,
    "runAsUser": 65532,
    "runAsGroup": 65532,
    "fsGroup": 65532,
    "seccompProfile": {"type": "RuntimeDefault"},
}
SECURE_CONTAINER = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
}


@pytest.fixture
def namespace(node_cluster: Running) -> Iterator[str]:
    """A namespace that admits only pods of the restricted profile."""
    name = f"test-{uuid.uuid4().hex[:10]}"
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    _apply(node_cluster, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}})
    yield name
    node_cluster.kubectl("delete", "namespace", name, "--wait=false")


def _apply(cluster: Running, *objects: dict[str, Any]) -> None:
    document = {"apiVersion": "v1", "kind": "List", "items": list(objects)}
    cluster.kubectl("apply", "-f", "-", stdin=json.dumps(document))


def _pod(cluster: Running, command: list[str], volumes: dict[str, dict[str, Any]] | None = None) -> dict[str, Any]:
    container = {
        "name": "main",
        "image": cluster.image,
        "imagePullPolicy": "IfNotPresent",
        "command": command,
        "securityContext": SECURE_CONTAINER,
        "volumeMounts": [{"name": name, "mountPath": f"/{name}"} for name in volumes or {}],
    }
    return {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "terminationGracePeriodSeconds": 1,
        "securityContext": SECURE_POD,
        "containers": [container],
        "volumes": [{"name": name, **source} for name, source in (volumes or {}).items()],
    }


def _run_job(
    cluster: Running, namespace: str, command: list[str], volumes: dict[str, dict[str, Any]] | None = None
) -> str:
    """The log of a Job that runs `command` to its end."""
    name = f"job-{uuid.uuid4().hex[:6]}"
    spec = {"backoffLimit": 0, "template": {"spec": _pod(cluster, command, volumes)}}
    _apply(
        cluster,
        {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name, "namespace": namespace}, "spec": spec},
    )
    cluster.kubectl("-n", namespace, "wait", "--for=condition=Complete", f"job/{name}", "--timeout=90s")
    return cluster.kubectl("-n", namespace, "logs", f"job/{name}")


def test_a_job_with_our_image_completes_under_the_restricted_profile(node_cluster: Running, namespace: str) -> None:
    log = _run_job(node_cluster, namespace, ["towline", "--help"])
    assert "towline" in log


def test_the_image_runs_as_a_user_without_rights_and_without_build_tools(node_cluster: Running, namespace: str) -> None:
    script = (
        "import os, shutil; print(os.getuid(), shutil.which('gcc'), shutil.which('pip'), os.access('/opt', os.W_OK))"
    )
    assert _run_job(node_cluster, namespace, ["python", "-c", script]).split() == ["65532", "None", "None", "False"]


def test_a_pod_finds_a_service_by_its_name(node_cluster: Running, namespace: str) -> None:
    pod = _pod(node_cluster, ["python", "-m", "http.server", "8000"])
    pod["containers"][0]["readinessProbe"] = {"tcpSocket": {"port": 8000}, "periodSeconds": 1}
    metadata = {"name": "web", "namespace": namespace, "labels": {"app": "web"}}
    service = {"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": 8000}]}
    _apply(
        node_cluster,
        {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": pod},
        {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": service},
    )
    node_cluster.kubectl("-n", namespace, "wait", "--for=condition=Ready", "pod/web", "--timeout=60s")
    script = (
        "import time, urllib.request\n"
        "deadline = time.monotonic() + 30\n"
        "while True:\n"
        "    try:\n"
        f"        print(urllib.request.urlopen('http://web.{namespace}.svc.cluster.local/', timeout=5).status)\n"
        "        break\n"
        "    except OSError:\n"
        "        if time.monotonic() > deadline: raise\n"
        "        time.sleep(0.2)\n"
    )
    assert _run_job(node_cluster, namespace, ["python", "-c", script]).strip() == "200"


def test_a_claim_is_bound_and_keeps_what_one_pod_wrote_for_the_next(node_cluster: Running, namespace: str) -> None:
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "10Mi"}}}
    metadata = {"name": "disk", "namespace": namespace}
    _apply(node_cluster, {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata, "spec": spec})
    disk = {"disk": {"persistentVolumeClaim": {"claimName": "disk"}}}
    _run_job(node_cluster, namespace, ["python", "-c", "open('/disk/a', 'w').write('kept')"], disk)
    read = ["python", "-c", "print(open('/disk/a').read())"]
    assert _run_job(node_cluster, namespace, read, disk).strip() == "kept"


def test_a_command_can_be_run_in_a_pod(node_cluster: Running, namespace: str) -> None:
    pod = _pod(node_cluster, ["sleep", "600"])
    metadata = {"name": "idle", "namespace": namespace}
    _apply(node_cluster, {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": pod})
    node_cluster.kubectl("-n", namespace, "wait", "--for=condition=Ready", "pod/idle", "--timeout=60s")
    assert node_cluster.kubectl("-n", namespace, "exec", "idle", "--", "id", "-u").strip() == "65532"


@pytest.fixture
def second_cluster(node_cluster: Running) -> Iterator[str]:
    """The name for a node beside the first one."""
    if node_cluster.provider != "node":
        pytest.skip(f"is about the node of our own; this machine uses {node_cluster.provider}")
    name = f"towline-test-second-{os.getpid()}"
    yield name
    lifecycle.down(name)


def _traces(name: str, slot: int) -> dict[str, list[str]]:
    """What of a cluster can be seen from outside: processes, mounts, interfaces, routes, rules, cgroups, folders."""
    commands = {"rules": ["iptables-save"], "links": ["ip", "-oneline", "link"], "routes": ["ip", "route"]}
    found = {
        what: [
            line
            for line in subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
            if f"towline{slot} " in line or f"towline{slot}:" in line or f"towline{slot}@" in line
        ]
        for what, command in commands.items()
    }
    found["mounts"] = [line for line in Path("/proc/mounts").read_text().splitlines() if name in line]
    found["cgroups"] = [str(path) for path in Path("/sys/fs/cgroup").glob(f"**/towline-{name}")]
    found["processes"] = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if name in (folder / "cmdline").read_text() or f"towline-{name}" in (folder / "cgroup").read_text():
                found["processes"].append(folder.name)
        except OSError:
            continue
    return found


def test_a_second_node_lives_beside_the_first_and_leaves_nothing(node_cluster: Running, second_cluster: str) -> None:
    settings = [Path("/proc/sys/net/ipv4/ip_forward"), Path("/proc/sys/vm/overcommit_memory")]
    before = [setting.read_text() for setting in settings]
    lifecycle.up(second_cluster, "node")
    record = load(second_cluster)
    assert record is not None
    assert lifecycle.is_healthy(lifecycle.status(record))
    seen = _traces(second_cluster, record.slot)
    assert all(seen[what] for what in ("rules", "links", "routes", "cgroups", "processes"))
    assert not seen["mounts"], "mounts of the node are to stay in its namespace"

    assert lifecycle.down(second_cluster)

    assert not any(_traces(second_cluster, record.slot).values())
    assert not record.folder.exists()
    assert [setting.read_text() for setting in settings] == before
    assert node_cluster.kubectl("get", "nodes", "--no-headers").split()[1] == "Ready"


def test_a_broken_node_is_repaired_and_its_objects_are_kept(second_cluster: str) -> None:
    up = lifecycle.up(second_cluster, "node")
    record = load(second_cluster)
    assert record is not None
    cluster = Running(up.name, up.provider, up.kubeconfig)
    cluster.kubectl("create", "namespace", "precious")
    for component in ("node", "kube-controller-manager"):
        assert processes.stop(record.pid_file(component), force=True)
    assert not lifecycle.is_healthy(lifecycle.status(record))

    lifecycle.up(second_cluster, "node")

    deadline = time.monotonic() + 60
    while not lifecycle.is_healthy(lifecycle.status(record)):
        assert time.monotonic() < deadline
        time.sleep(0.5)
    assert "precious" in cluster.kubectl("get", "namespaces")
