"""What is written down about a cluster: enough for a later command to find, check, repair and remove it."""

import json
import os
import re
from dataclasses import asdict, dataclass, field
from pathlib import Path

from tests.cluster.folders import cluster_folder, clusters_folder
from tests.cluster.locks import file_lock
from tests.cluster.network import Addresses, choose_slot, free_ports, host_routes, port_is_free
from tests.cluster.report import ClusterError

PORTS = ("etcd", "etcd-peer", "api", "controller-manager", "scheduler")


@dataclass(frozen=True)
class Record:
    """One cluster; `provider` is `kind`, `node` or `control-plane`."""

    name: str
    provider: str
    slot: int = 0
    ports: dict[str, int] = field(default_factory=dict)
    details: dict[str, str] = field(default_factory=dict)

    @property
    def folder(self) -> Path:
        return cluster_folder(self.name)

    @property
    def kubeconfig(self) -> Path:
        return self.folder / "kubeconfig"

    @property
    def addresses(self) -> Addresses:
        return Addresses(self.slot)

    @property
    def api_address(self) -> str:
        """Where the API server listens: on the link to the node, or on loopback when there is no node."""
        return self.addresses.host if self.provider == "node" else "127.0.0.1"

    @property
    def api_url(self) -> str:
        return f"https://{self.api_address}:{self.ports['api']}"

    def pid_file(self, component: str) -> Path:
        return self.folder / "run" / f"{component}.stat"

    def log(self, component: str) -> Path:
        return self.folder / "logs" / f"{component}.log"


def check_name(name: str) -> str:
    """`name` itself when it can name a cluster (folder, node and interface names are made from it)."""
    if not re.fullmatch(r"[a-z]([a-z0-9-]{0,28}[a-z0-9])?", name):
        raise ClusterError(
            f"{name!r} cannot name a cluster: use at most 30 lower-case letters, digits and hyphens, first a letter."
        )
    return name


def load(name: str) -> Record | None:
    """The record of the cluster `name`; None when there is none."""
    try:
        data = json.loads((cluster_folder(check_name(name)) / "cluster.json").read_text())
        return Record(**data)
    except (OSError, ValueError, TypeError):
        return None


def save(record: Record) -> None:
    """Write `record` so that a reader sees the old one or the new one, never half of it."""
    record.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    path = record.folder / "cluster.json"
    unfinished = path.with_suffix(".new")
    unfinished.write_text(json.dumps(asdict(record), indent=1) + "\n")
    os.replace(unfinished, path)


def load_all() -> list[Record]:
    """Every cluster that has a record, by name."""
    folders = sorted(path.parent for path in clusters_folder().glob("*/cluster.json"))
    return [record for folder in folders if (record := load(folder.name))]


def allocate(name: str, provider: str) -> Record:
    """A new record with a slot and ports that no other cluster of this user has."""
    with file_lock(clusters_folder() / ".lock", "choosing addresses"):
        slot = choose_slot({record.slot for record in load_all()}, host_routes())
        record = Record(check_name(name), provider, slot, dict(zip(PORTS, free_ports(len(PORTS)), strict=True)))
        save(record)
    return record


def renew_ports(record: Record) -> Record:
    """The record with other ports where one of them has been taken since; call it while nothing of it runs."""
    if all(port_is_free(port) for port in record.ports.values()):
        return record
    renewed = Record(
        record.name, record.provider, record.slot, dict(zip(PORTS, free_ports(len(PORTS)), strict=True)), record.details
    )
    save(renewed)
    return renewed
