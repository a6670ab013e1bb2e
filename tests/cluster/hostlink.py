"""What a node needs of this machine outside its own namespaces, and how each of it is undone."""

import json
import subprocess
from pathlib import Path

from tests.cluster.folders import clusters_folder
from tests.cluster.network import Addresses
from tests.cluster.record import load_all
from tests.cluster.report import ClusterError

# Folders that the node's programs insist on. The node mounts its own over them, for which they must exist.
CNI_FOLDER, KUBELET_FOLDER = Path("/var/lib/cni"), Path("/var/lib/kubelet")
MOUNT_POINTS = (CNI_FOLDER, KUBELET_FOLDER)
# The kubelet sets the first five, whatever namespace it is in; the last lets pods reach other networks.
_SETTINGS = (
    "vm/overcommit_memory",
    "vm/panic_on_oom",
    "kernel/panic",
    "kernel/panic_on_oops",
    "kernel/keys/root_maxkeys",
    "kernel/keys/root_maxbytes",
    "net/ipv4/ip_forward",
)


def remember_machine() -> None:
    """Write down the machine's settings that a node changes, unless a node of ours runs already."""
    path = _memory()
    if not path.exists():
        values = {name: file.read_text().strip() for name in _SETTINGS if (file := Path("/proc/sys") / name).exists()}
        made = [str(folder) for folder in MOUNT_POINTS if not folder.exists()]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"settings": values, "made": made}))
    for folder in MOUNT_POINTS:
        folder.mkdir(parents=True, exist_ok=True)


def restore_machine(leaving: str) -> None:
    """Put the machine's settings back when `leaving` is the last cluster with a node."""
    path = _memory()
    if not path.exists() or any(r.provider == "node" and r.name != leaving for r in load_all()):
        return
    memory = json.loads(path.read_text())
    for name, value in memory["settings"].items():
        file = Path("/proc/sys") / name
        if file.read_text().strip() != value:
            file.write_text(value + "\n")
    for folder in map(Path, memory["made"]):
        if folder.exists() and not any(folder.iterdir()):
            folder.rmdir()
    path.unlink()


def connect(addresses: Addresses, pid: int) -> None:
    """Link this machine with the network namespace of process `pid`, and let pods out through it."""
    link = addresses.interface
    disconnect(addresses)
    _run("ip", "link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", str(pid))
    _run("ip", "address", "add", f"{addresses.host}/{addresses.link.prefixlen}", "dev", link)
    _run("ip", "link", "set", link, "up")
    for network in (addresses.pods, addresses.services):
        _run("ip", "route", "replace", str(network), "via", addresses.node)
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1\n")
    for rule in _rules(addresses):
        _run("iptables", "-w", *_table(rule), "-I", *rule[1:])


def disconnect(addresses: Addresses) -> None:
    """Remove the link and every rule about it; what is not there is no error."""
    for rule in _rules(addresses):
        while _quiet("iptables", "-w", *_table(rule), "-D", *rule[1:]):
            pass
    _quiet("ip", "link", "delete", addresses.interface)


def _rules(addresses: Addresses) -> list[list[str]]:
    link, own = addresses.interface, ["-m", "comment", "--comment", addresses.interface]
    return [
        ["nat", "POSTROUTING", "-s", str(addresses.link), "!", "-o", link, *own, "-j", "MASQUERADE"],
        ["filter", "FORWARD", "-i", link, *own, "-j", "ACCEPT"],
        ["filter", "FORWARD", "-o", link, *own, "-j", "ACCEPT"],
        ["filter", "INPUT", "-i", link, *own, "-j", "ACCEPT"],
    ]


def _table(rule: list[str]) -> list[str]:
    return ["-t", rule[0]]


def _memory() -> Path:
    return clusters_folder() / ".machine.json"


def _run(*command: str) -> None:
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode:
        raise ClusterError(f"`{' '.join(command)}` failed on this machine: {result.stderr.strip()}")


def _quiet(*command: str) -> bool:
    return subprocess.run(command, capture_output=True, check=False).returncode == 0
