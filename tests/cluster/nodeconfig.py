"""The configuration files of containerd, the kubelet and kube-proxy."""

import json
from pathlib import Path

from tests.cluster.controlplane import node_name
from tests.cluster.record import Record

CONTAINERD_SOCKET = "/run/containerd/containerd.sock"
CLUSTER_DOMAIN = "cluster.local"


def cgroup_name(record: Record) -> str:
    """The cgroup below which all pods of the node are."""
    return f"towline-{record.name}"


def write_node_config(record: Record, pause_image: str) -> None:
    """Write every file that the node's programs read."""
    folder = record.folder / "config"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "containerd.toml").write_text(_containerd(record, pause_image))
    (folder / "kubelet.yaml").write_text(json.dumps(_kubelet(record), indent=1))
    (folder / "kube-proxy.yaml").write_text(json.dumps(_kube_proxy(record), indent=1))
    servers = upstream_dns_servers()
    (folder / "resolv.conf").write_text("".join(f"nameserver {server}\n" for server in servers))
    network = record.folder / "cni"
    network.mkdir(exist_ok=True)
    (network / "10-towline.conflist").write_text(json.dumps(_pod_network(record), indent=1))


def upstream_dns_servers(
    files: tuple[Path, ...] = (Path("/etc/resolv.conf"), Path("/run/systemd/resolve/resolv.conf")),
) -> list[str]:
    """The name servers that pods can use too: a resolver on loopback is this machine's alone."""
    for file in files:
        try:
            lines = [line.split() for line in file.read_text().splitlines()]
        except OSError:
            continue
        servers = [words[1] for words in lines if len(words) > 1 and words[0] == "nameserver"]
        if usable := [server for server in servers if not server.startswith("127.") and server != "::1"]:
            return usable
    return []


def filesystem_type(path: Path, mounts: str) -> str:
    """The type of the file system that holds `path`, from the text of /proc/self/mounts."""
    best, kind = "", ""
    for line in mounts.splitlines():
        _, point, found = line.split(" ")[:3]
        if path.is_relative_to(point) and len(point) >= len(best):
            best, kind = point, found
    return kind


def _containerd(record: Record, pause_image: str) -> str:
    # Overlays cannot be stacked on an overlay, which is what the root of a container is.
    on_overlay = filesystem_type(record.folder, Path("/proc/self/mounts").read_text()) == "overlay"
    return f"""version = 2
root = "{record.folder / "containerd"}"
state = "/run/containerd"
# The first would make a folder in /opt; the others look for file systems that are not used here.
disabled_plugins = [
  "io.containerd.internal.v1.opt",
  "io.containerd.snapshotter.v1.aufs",
  "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.devmapper",
  "io.containerd.snapshotter.v1.zfs",
]
[grpc]
  address = "{CONTAINERD_SOCKET}"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{pause_image}"
  # Without CAP_SYS_RESOURCE no process may lower its oom_score_adj, and runc would die trying.
  restrict_oom_score_adj = {str(not may_lower_oom_score()).lower()}
  tolerate_missing_hugetlb_controller = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "{record.folder / "cni"}"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "{"native" if on_overlay else "overlayfs"}"
    default_runtime_name = "runc"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        SystemdCgroup = false
"""


def may_lower_oom_score(status: Path = Path("/proc/self/status")) -> bool:
    """Whether this process has CAP_SYS_RESOURCE (bit 24 of its effective capabilities)."""
    for line in status.read_text().splitlines():
        if line.startswith("CapEff:"):
            return bool(int(line.split()[1], 16) >> 24 & 1)
    return False


def _pod_network(record: Record) -> dict[str, object]:
    # Each pod has a routed link of its own (ptp). On a shared bridge, answers between pods would bypass the
    # translation of Service addresses unless the kernel passes bridged packets through iptables.
    addresses = {
        "type": "host-local",
        "dataDir": "/run/cni-addresses",
        "ranges": [[{"subnet": str(record.addresses.pods)}]],
        "routes": [{"dst": "0.0.0.0/0"}],
    }
    return {
        "cniVersion": "0.4.0",
        "name": "towline",
        "plugins": [
            {"type": "ptp", "ipMasq": False, "ipam": addresses},
            {"type": "portmap", "capabilities": {"portMappings": True}},
        ],
    }


def _kubelet(record: Record) -> dict[str, object]:
    certificates = record.folder / "certificates"
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": record.addresses.node,
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": str(certificates / "kubernetes-ca.crt")},
        },
        "authorization": {"mode": "Webhook"},
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{cgroup_name(record)}",
        "clusterDNS": [record.addresses.dns],
        "clusterDomain": CLUSTER_DOMAIN,
        "containerRuntimeEndpoint": f"unix://{CONTAINERD_SOCKET}",
        # A machine for tests may have a full disk without being unfit for small pods.
        "evictionHard": {"memory.available": "50Mi", "nodefs.available": "1%", "imagefs.available": "1%"},
        "failCgroupV1": False,
        "failSwapOn": False,
        # Images come by import alone: what the kubelet removed could not be pulled again.
        "imageGCHighThresholdPercent": 100,
        "maxPods": 200,
        "oomScoreAdj": 0,
        "resolvConf": str(record.folder / "config" / "resolv.conf"),
        "tlsCertFile": str(certificates / "kubelet-server.crt"),
        "tlsPrivateKeyFile": str(certificates / "kubelet-server.key"),
        "kubeAPIQPS": 100,
        "kubeAPIBurst": 200,
    }


def _kube_proxy(record: Record) -> dict[str, object]:
    return {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "clientConnection": {"kubeconfig": str(record.folder / "certificates" / "kube-proxy.kubeconfig")},
        "clusterCIDR": str(record.addresses.pods),
        # The size of the kernel's connection table is the machine's affair.
        "conntrack": {"maxPerCore": 0, "min": 0},
        "hostnameOverride": node_name(record),
        "iptables": {"minSyncPeriod": "100ms"},
        "metricsBindAddress": "127.0.0.1:10249",
        "mode": "iptables",
        "oomScoreAdj": 0,
    }
