"""etcd, API server, controller manager and scheduler as processes of this machine; no root is needed."""

import http.client
import json
import ssl
import subprocess
import time
from pathlib import Path

from tests.cluster import processes
from tests.cluster.certificates import Pair, issue, make_authority, make_signing_key, pair
from tests.cluster.kubeconfig import write_kubeconfig
from tests.cluster.record import Record
from tests.cluster.report import ClusterError, step

COMPONENTS = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler")
_ADMISSION = "NodeRestriction"


def start_control_plane(record: Record, programs: dict[str, Path], wait: float) -> None:
    """Start what does not run, and wait until the API server is ready; at most `wait` seconds."""
    with step("starting etcd, API server, controller manager and scheduler"):
        _make_certificates(record)
        _start(record, "etcd", [str(programs["etcd"]), *_etcd_flags(record)])
        _start(record, "kube-apiserver", [str(programs["kube-apiserver"]), *_api_server_flags(record)])
        _wait_until_ready(record, COMPONENTS[:2], wait)
        # These two read a ConfigMap at start that they may read only once the API server has made its own roles.
        _start(record, "kube-controller-manager", [str(programs["kube-controller-manager"]), *_manager_flags(record)])
        _start(record, "kube-scheduler", [str(programs["kube-scheduler"]), f"--config={_scheduler_config(record)}",
                                          *_serving_flags(record, "scheduler")])  # fmt: skip
        _wait_for_default_account(record, programs["kubectl"], wait)


def stop_control_plane(record: Record) -> list[str]:
    """Stop the four in the order that lets each one end quietly; the names of those that could not be ended."""
    return [name for name in reversed(COMPONENTS) if not processes.stop(record.pid_file(name), patience=3.0)]


def component_states(record: Record) -> dict[str, str]:
    """`running` or `not running` for each of the four."""
    return {
        name: "running" if processes.is_alive(processes.read_record(record.pid_file(name))) else "not running"
        for name in COMPONENTS
    }


def api_is_ready(record: Record, timeout: float = 2.0) -> bool:
    """Whether the API server answers 200 to /readyz."""
    certificates = record.folder / "certificates"
    client = pair(certificates, "admin")
    try:
        context = ssl.create_default_context(cafile=str(certificates / "kubernetes-ca.crt"))
        context.load_cert_chain(client.certificate, client.key)
        connection = http.client.HTTPSConnection(
            record.api_address, record.ports["api"], timeout=timeout, context=context
        )
        try:
            connection.request("GET", "/readyz")
            return connection.getresponse().status == 200
        finally:
            connection.close()
    except (OSError, http.client.HTTPException):
        return False


def node_name(record: Record) -> str:
    """The node's name in the cluster."""
    return record.name


def _start(record: Record, component: str, command: list[str]) -> None:
    if not processes.is_alive(processes.read_record(record.pid_file(component))):
        processes.start(record.pid_file(component), command, record.log(component))


def _wait_until_ready(record: Record, components: tuple[str, ...], wait: float) -> None:
    deadline = time.monotonic() + wait
    while not api_is_ready(record):
        _complain_about_dead(record, components)
        if time.monotonic() > deadline:
            log = record.log("kube-apiserver")
            raise ClusterError(
                f"The API server was not ready within {wait:.0f} s; its log is {log}:\n{processes.last_lines(log)}"
            )
        time.sleep(0.1)


def _wait_for_default_account(record: Record, kubectl: Path, wait: float) -> None:
    """A pod is refused until the controller manager has made its namespace's ServiceAccount."""
    deadline = time.monotonic() + wait
    command = [str(kubectl), f"--kubeconfig={record.kubeconfig}", "get", "serviceaccount", "default"]
    while subprocess.run(command, capture_output=True, check=False).returncode:
        _complain_about_dead(record, COMPONENTS)
        if time.monotonic() > deadline:
            log = record.log("kube-controller-manager")
            raise ClusterError(
                f"The controller manager did not start to work; its log is {log}:\n{processes.last_lines(log)}"
            )
        time.sleep(0.1)


def _complain_about_dead(record: Record, components: tuple[str, ...]) -> None:
    for name in components:
        started = processes.read_record(record.pid_file(name))
        if started is not None and not processes.is_alive(started):
            log = record.log(name)
            raise ClusterError(f"{name} ended while it started; its log is {log}:\n{processes.last_lines(log)}")


def _make_certificates(record: Record) -> None:
    folder = record.folder / "certificates"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    addresses = record.addresses
    authority = make_authority(folder, "kubernetes-ca")
    # etcd trusts an authority of its own: whoever has a certificate of the cluster must not reach the store itself.
    store = make_authority(folder, "etcd-ca")
    issue(folder, "etcd", store, "etcd", hosts=("IP:127.0.0.1",))
    service = "kubernetes.default.svc.cluster.local"
    served = tuple(
        f"DNS:{name}" for name in ("localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc", service)
    ) + tuple(f"IP:{address}" for address in ("127.0.0.1", addresses.host, addresses.api_service))
    issue(folder, "kube-apiserver", authority, "kube-apiserver", hosts=served)
    issue(folder, "kubelet-client", authority, "kube-apiserver-kubelet-client", ("system:masters",))
    node = node_name(record)
    issue(folder, "kubelet-server", authority, node, hosts=(f"DNS:{node}", f"IP:{addresses.node}", "IP:127.0.0.1"))
    make_signing_key(folder / "service-accounts.key")
    clients: dict[str, tuple[str, tuple[str, ...]]] = {
        "admin": ("towline-cluster-admin", ("system:masters",)),
        "kube-controller-manager": ("system:kube-controller-manager", ()),
        "kube-scheduler": ("system:kube-scheduler", ()),
        "kubelet": (f"system:node:{node}", ("system:nodes",)),
        "kube-proxy": ("system:kube-proxy", ()),
    }
    for name, (user, groups) in clients.items():
        client = issue(folder, name, authority, user, groups)
        path = record.kubeconfig if name == "admin" else folder / f"{name}.kubeconfig"
        write_kubeconfig(path, record.name, record.api_url, authority.certificate, client)


def _pair(record: Record, name: str) -> Pair:
    return pair(record.folder / "certificates", name)


def _etcd_flags(record: Record) -> list[str]:
    own, authority = _pair(record, "etcd"), _pair(record, "etcd-ca")
    client, peer = (f"https://127.0.0.1:{record.ports[name]}" for name in ("etcd", "etcd-peer"))
    return [
        f"--name={record.name}",
        f"--data-dir={record.folder / 'etcd'}",
        f"--listen-client-urls={client}",
        f"--advertise-client-urls={client}",
        f"--listen-peer-urls={peer}",
        f"--initial-advertise-peer-urls={peer}",
        f"--initial-cluster={record.name}={peer}",
        *(f"--{kind}cert-file={own.certificate}" for kind in ("", "peer-")),
        *(f"--{kind}key-file={own.key}" for kind in ("", "peer-")),
        *(f"--{kind}trusted-ca-file={authority.certificate}" for kind in ("", "peer-")),
        "--client-cert-auth",
        "--peer-client-cert-auth",
        # A cluster for tests and demos need not outlive a power cut, and the disk must not set its pace.
        "--unsafe-no-fsync",
        "--log-level=warn",
    ]


def _api_server_flags(record: Record) -> list[str]:
    certificates = record.folder / "certificates"
    own, store, kubelet = (_pair(record, name) for name in ("kube-apiserver", "etcd", "kubelet-client"))
    accounts = certificates / "service-accounts.key"
    return [
        f"--etcd-servers=https://127.0.0.1:{record.ports['etcd']}",
        f"--etcd-cafile={certificates / 'etcd-ca.crt'}",
        f"--etcd-certfile={store.certificate}",
        f"--etcd-keyfile={store.key}",
        f"--bind-address={record.api_address}",
        # Pods reach the `kubernetes` Service at this address, so it is never loopback.
        f"--advertise-address={record.addresses.host}",
        f"--secure-port={record.ports['api']}",
        f"--service-cluster-ip-range={record.addresses.services}",
        f"--tls-cert-file={own.certificate}",
        f"--tls-private-key-file={own.key}",
        f"--client-ca-file={certificates / 'kubernetes-ca.crt'}",
        f"--kubelet-certificate-authority={certificates / 'kubernetes-ca.crt'}",
        f"--kubelet-client-certificate={kubelet.certificate}",
        f"--kubelet-client-key={kubelet.key}",
        "--kubelet-preferred-address-types=InternalIP",
        "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
        f"--service-account-key-file={accounts}",
        f"--service-account-signing-key-file={accounts}",
        "--authorization-mode=Node,RBAC",
        f"--enable-admission-plugins={_ADMISSION}",
        "--allow-privileged=true",
        "--shutdown-delay-duration=0s",
        "--profiling=false",
    ]


def _manager_flags(record: Record) -> list[str]:
    certificates = record.folder / "certificates"
    authority = _pair(record, "kubernetes-ca")
    kubeconfig = certificates / "kube-controller-manager.kubeconfig"
    return [
        f"--kubeconfig={kubeconfig}",
        f"--authentication-kubeconfig={kubeconfig}",
        f"--authorization-kubeconfig={kubeconfig}",
        "--leader-elect=false",
        "--use-service-account-credentials",
        f"--service-account-private-key-file={certificates / 'service-accounts.key'}",
        f"--root-ca-file={authority.certificate}",
        f"--cluster-signing-cert-file={authority.certificate}",
        f"--cluster-signing-key-file={authority.key}",
        f"--service-cluster-ip-range={record.addresses.services}",
        # By default it makes 8 Jobs' pods a second: benches are to measure Towline, not that limit.
        "--kube-api-qps=300",
        "--kube-api-burst=600",
        "--concurrent-job-syncs=20",
        *_serving_flags(record, "controller-manager"),
    ]


def _serving_flags(record: Record, component: str) -> list[str]:
    own = _pair(record, "kube-apiserver")
    return [
        "--bind-address=127.0.0.1",
        f"--secure-port={record.ports[component]}",
        f"--tls-cert-file={own.certificate}",
        f"--tls-private-key-file={own.key}",
        "--profiling=false",
    ]


def _scheduler_config(record: Record) -> Path:
    kubeconfig = record.folder / "certificates" / "kube-scheduler.kubeconfig"
    path = record.folder / "config" / "kube-scheduler.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        json.dumps(
            {
                "apiVersion": "kubescheduler.config.k8s.io/v1",
                "kind": "KubeSchedulerConfiguration",
                "clientConnection": {"kubeconfig": str(kubeconfig), "qps": 300, "burst": 600},
                "leaderElection": {"leaderElect": False},
            },
            indent=1,
        )
    )
    return path
