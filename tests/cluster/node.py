"""A node of our own: containerd, kubelet, kube-proxy and a volume provisioner in private namespaces.

The namespaces (processes, mounts, network, host name) belong to one process, so two nodes do not meet, and ending
that process leaves nothing behind but what `hostlink` and `cgroups` made outside, which they remove.
"""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from tests.cluster import cgroups, hostlink, processes
from tests.cluster.addons import dns_manifest, storage_manifest
from tests.cluster.archive import write_program_image
from tests.cluster.binaries import COREDNS, PAUSE, content_hash
from tests.cluster.controlplane import node_name
from tests.cluster.folders import CHECKOUT, cache_folder, clusters_folder
from tests.cluster.kubectl import apply, kubectl
from tests.cluster.locks import file_lock
from tests.cluster.nodeconfig import (
    CONTAINERD_SOCKET,
    cgroup_name,
    write_node_config,
)
from tests.cluster.packages import NODE_TOOLS, ensure_packages
from tests.cluster.record import Record
from tests.cluster.report import ClusterError, step

_NODE = "node"


def prepare(record: Record, programs: dict[str, Path]) -> None:
    """Start the node's namespaces and link them with this machine; its kubelet waits for the API server."""
    ensure_packages(NODE_TOOLS)
    with step("starting the node's namespaces and containerd"):
        cgroups.make_cgroup(cgroup_name(record))
        with file_lock(clusters_folder() / ".machine.lock", "changing this machine's settings"):
            hostlink.remember_machine()
        write_node_config(record, _image_reference("pause", content_hash(PAUSE)))
        settings = _write_settings(record, programs)
        if not processes.is_alive(processes.read_record(record.pid_file(_NODE))):
            _start_namespaces(record, settings)


def finish(record: Record, programs: dict[str, Path], wait: float) -> None:
    """Give the running node its images, its DNS and its storage class; wait until it is ready."""
    deadline = time.monotonic() + wait
    with step("starting the kubelet, cluster DNS and volumes"):
        _wait_for(lambda: _init_pid(record) and _ctr(record, "version").returncode == 0, deadline, record, "containerd")
        for name, module, entrypoint in (("pause", PAUSE, "/pause"), ("coredns", COREDNS, "/coredns")):
            _ensure_program_image(record, name, programs[name], content_hash(module), entrypoint)
        _apply_addons(record)
        _wait_for(lambda: _node_ready(record), deadline, record, "kubelet", "The node")
        _wait_for(lambda: _dns_ready(record), deadline, record, "kubelet", "Cluster DNS")


def stop(record: Record) -> list[str]:
    """End the node and undo what it changed outside its namespaces; the names of what could not be undone."""
    left = []
    init = processes.identify(_init_pid(record))
    if not processes.stop(record.pid_file(_NODE), force=True) or not processes.wait_until_gone(init, 15):
        left.append("the node's processes")
    hostlink.disconnect(record.addresses)
    deadline = time.monotonic() + 5
    while not cgroups.remove_cgroup(cgroup_name(record)):
        if time.monotonic() > deadline:
            left.append(f"cgroup {cgroup_name(record)}")
            break
        time.sleep(0.1)
    if not left:
        with file_lock(clusters_folder() / ".machine.lock", "changing this machine's settings"):
            hostlink.restore_machine(record.name)
    return left


def component_states(record: Record) -> dict[str, str]:
    """The node's namespaces, containerd, the kubelet (by the node's condition) and cluster DNS."""
    if _init_pid(record) is None:
        return {"node": "not running"}
    states = {"node": "running"}
    states["containerd"] = "running" if _ctr(record, "version").returncode == 0 else "not running"
    states["kubelet"] = "ready" if _node_ready(record) else "not ready"
    states["cluster DNS"] = "ready" if _dns_ready(record) else "not ready"
    return states


def import_image(record: Record, archive: Path) -> None:
    """Import a `docker load` or OCI archive into the node; ClusterError with containerd's words."""
    result = _ctr(record, "--namespace=k8s.io", "images", "import", str(archive))
    if result.returncode:
        raise ClusterError(f"containerd could not import {archive.name}: {result.stderr.strip()[-500:]}")


def has_image(record: Record, reference: str) -> bool:
    """Whether the node has the image."""
    return reference in _ctr(record, "--namespace=k8s.io", "images", "list", "--quiet").stdout.split()


def _start_namespaces(record: Record, settings: Path) -> None:
    flags = ["--net", "--mount", "--uts", "--ipc", "--pid", "--fork", "--kill-child", "--mount-proc"]
    command = [sys.executable, "-m", "tests.cluster.nodeinit", str(settings)]
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT), "PYTHONUNBUFFERED": "1"}
    processes.start(record.pid_file(_NODE), ["unshare", *flags, *command], record.log(_NODE), environment)
    deadline = time.monotonic() + 10
    # The first child appears before it has left for its namespaces' contents; its network is there already.
    _wait_for(lambda: _init_pid(record) is not None, deadline, record, _NODE)
    pid = _init_pid(record)
    assert pid is not None
    hostlink.connect(record.addresses, pid)


def _write_settings(record: Record, programs: dict[str, Path]) -> Path:
    config, certificates = record.folder / "config", record.folder / "certificates"
    # The programs find their usual folders; what is in them is the cluster's.
    private = {
        hostlink.CNI_FOLDER: record.folder / "cni-state",
        hostlink.KUBELET_FOLDER: record.folder / "kubelet",
        Path("/var/log"): record.folder / "var-log",
    }
    shutil.rmtree(private[hostlink.CNI_FOLDER], ignore_errors=True)  # no pod's network outlives its namespace
    for folder in private.values():
        folder.mkdir(exist_ok=True)
    record.log(_NODE).parent.mkdir(exist_ok=True)
    settings = {
        "name": node_name(record),
        "logs": str(record.folder / "logs"),
        "private_folders": {str(usual): str(own) for usual, own in private.items()},
        "address": f"{record.addresses.node}/{record.addresses.link.prefixlen}",
        "gateway": record.addresses.host,
        "pods": str(record.addresses.pods),
        "api": [record.api_address, record.ports["api"]],
        "containerd_socket": CONTAINERD_SOCKET,
        "programs": {
            "containerd": ["containerd", f"--config={config / 'containerd.toml'}"],
            "kubelet": [
                str(programs["kubelet"]),
                f"--config={config / 'kubelet.yaml'}",
                f"--kubeconfig={certificates / 'kubelet.kubeconfig'}",
                f"--hostname-override={node_name(record)}",
                f"--node-ip={record.addresses.node}",
            ],
            "kube-proxy": [str(programs["kube-proxy"]), f"--config={config / 'kube-proxy.yaml'}"],
            "provisioner": [
                sys.executable,
                "-m",
                "tests.cluster.provisioner",
                str(record.kubeconfig),
                # The controller manager deletes a volume's folder only when /tmp/ stands in its path.
                str(record.folder / "volumes" / "tmp"),
            ],
        },
    }
    path = config / "node.json"
    path.write_text(json.dumps(settings, indent=1))
    return path


def _init_pid(record: Record) -> int | None:
    """The process that is the first one inside the namespaces, as this machine numbers it."""
    outer = processes.read_record(record.pid_file(_NODE))
    if outer is None or not processes.is_alive(outer):
        return None
    try:
        children = Path(f"/proc/{outer.pid}/task/{outer.pid}/children").read_text().split()
        # The shell that writes the record has children for a moment, too; those are in this machine's network.
        if not children or os.readlink(f"/proc/{children[0]}/ns/net") == os.readlink("/proc/self/ns/net"):
            return None
        return int(children[0])
    except OSError:
        return None


def _ctr(record: Record, *arguments: str) -> subprocess.CompletedProcess[str]:
    pid = _init_pid(record)
    command = ["nsenter", f"--target={pid}", "--mount", "ctr", f"--address={CONTAINERD_SOCKET}", *arguments]
    if pid is None:
        return subprocess.CompletedProcess(command, 1, "", "the node does not run")
    return subprocess.run(command, capture_output=True, text=True, check=False)


def _image_reference(name: str, version: str) -> str:
    return f"localhost/towline-{name}:{version}"


def _ensure_program_image(record: Record, name: str, program: Path, version: str, entrypoint: str) -> None:
    reference = _image_reference(name, version)
    if has_image(record, reference):
        return
    archive = cache_folder() / "images" / f"{name}-{version}.tar"
    with file_lock(archive.with_suffix(".lock"), f"packing the image of {name}"):
        if not archive.exists():
            write_program_image(archive, reference, program, entrypoint)
    import_image(record, archive)


def _apply_addons(record: Record) -> None:
    image = _image_reference("coredns", content_hash(COREDNS))
    apply(record.kubeconfig, dns_manifest(image, record.addresses.dns))
    apply(record.kubeconfig, storage_manifest())


def _node_ready(record: Record) -> bool:
    return _jsonpath(record, "node", node_name(record), '{.status.conditions[?(@.type=="Ready")].status}') == "True"


def _dns_ready(record: Record) -> bool:
    return _jsonpath(record, "deployment", "coredns", "{.status.readyReplicas}") == "1"


def _jsonpath(record: Record, kind: str, name: str, path: str) -> str:
    command = ("--request-timeout=5s", "--namespace=kube-system", "get", kind, name, f"--output=jsonpath={path}")
    return kubectl(record.kubeconfig, *command, check=False).strip()


def _wait_for(test: Callable[[], object], deadline: float, record: Record, log: str, what: str = "") -> None:
    while not test():
        if time.monotonic() > deadline or _init_has_died(record):
            raise ClusterError(
                f"{what or log} did not become ready; its log is {record.log(log)}:\n"
                f"{processes.last_lines(record.log(log))}\n{processes.last_lines(record.log(_NODE))}"
            )
        time.sleep(0.1)


def _init_has_died(record: Record) -> bool:
    outer = processes.read_record(record.pid_file(_NODE))
    return outer is not None and not processes.is_alive(outer)
