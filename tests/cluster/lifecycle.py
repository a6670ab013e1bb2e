"""Brings clusters up, takes them down and tells how they are, whatever their kind."""

import os
import shutil
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path

from tests.cluster import choice, controlplane, kind, node, processes
from tests.cluster.binaries import CONTROL_PLANE, NODE, build, content_hash
from tests.cluster.folders import cluster_folder
from tests.cluster.locks import file_lock
from tests.cluster.record import Record, allocate, check_name, load, renew_ports, save
from tests.cluster.report import ClusterError, say, step

DEFAULT_NAME = "towline-dev"
DEFAULT_WAIT = 120.0


@dataclass(frozen=True)
class Cluster:
    """A cluster that is up. `record` is None for one that the user named: that one is never taken down."""

    name: str
    provider: str
    kubeconfig: Path
    record: Record | None = None

    @property
    def runs_pods(self) -> bool:
        return self.provider != "control-plane"


def up(
    name: str = DEFAULT_NAME,
    provider: str = "auto",
    kubeconfig: str | None = None,
    wait: float = DEFAULT_WAIT,
    node_image: str | None = None,
    need_pods: bool = False,
) -> Cluster:
    """A running cluster: the one that is there when it is healthy, else repaired, else made.

    `node_image` is for kind alone. ClusterError says what is missing.
    """
    check_name(name)
    named = choice.named_kubeconfig(kubeconfig, os.environ)
    before = load(name)
    keeps_its_kind = before is not None and not (need_pods and before.provider == "control-plane")
    if provider == "auto" and named is None and before is not None and keeps_its_kind:
        chosen = before.provider
    else:
        chosen = choice.choose(provider, named, choice.look_at_machine(), need_pods)
    if chosen == "existing":
        assert named is not None
        return Cluster(name, chosen, named)
    if before is not None and before.provider != chosen:
        raise ClusterError(
            f"Cluster {name} is of the kind {before.provider}, not {chosen}. Take it down first "
            f"(python -m tests.cluster down --name {name}) or give another --name."
        )
    programs = build(NODE if chosen == "node" else CONTROL_PLANE) if chosen != "kind" else {}
    with _cluster_lock(name):
        if chosen == "kind":
            record = kind.up(name, wait, node_image)
        else:
            record = _up_from_binaries(name, chosen, programs, wait)
    return Cluster(name, chosen, record.kubeconfig, record)


def down(name: str = DEFAULT_NAME) -> bool:
    """Remove all that cluster `name` made; False when there is no such cluster.

    ClusterError names what could not be removed; its record then stays, so that `down` can be tried again.
    """
    check_name(name)
    folder = cluster_folder(name)
    with _cluster_lock(name):
        record = load(name)
        if record is not None:
            with step(f"taking down {name}"):
                if record.provider == "kind":
                    kind.down(record)
                else:
                    _stop(record)
                shutil.rmtree(folder)
        else:
            # Without a readable record there may still be processes, and each of those has its own.
            for file in (folder / "run").glob("*.stat"):
                processes.stop(file)
            shutil.rmtree(folder, ignore_errors=True)
        folder.with_suffix(".lock").unlink(missing_ok=True)
    return record is not None


def status(record: Record) -> dict[str, str]:
    """Each component of the cluster and how it is; `healthy` or `ready` or `running` is good."""
    if record.provider == "kind":
        return kind.component_states(record)
    states = controlplane.component_states(record)
    states["API server"] = "ready" if controlplane.api_is_ready(record) else "not ready"
    if record.provider == "node":
        states |= node.component_states(record)
    return states


def is_healthy(states: dict[str, str]) -> bool:
    """Whether `status` found nothing wrong."""
    return all(state in {"running", "ready"} for state in states.values())


def _up_from_binaries(name: str, provider: str, programs: dict[str, Path], wait: float) -> Record:
    record = load(name) or allocate(name, provider)
    built = " ".join(content_hash(module) for module in (NODE if provider == "node" else CONTROL_PLANE))
    if is_healthy(status(record)) and record.details.get("built") == built:
        say(f"{name} is up already")
        return record
    if record.details.get("complete"):
        say(f"{name} is not healthy or of an older version: starting it again, its objects are kept")
        _stop(record)
    elif any(processes.is_alive(processes.read_record(file)) for file in (record.folder / "run").glob("*.stat")):
        say(f"an earlier start of {name} did not finish: starting again")
        _stop(record)
    record = renew_ports(record)
    if provider == "node":
        node.prepare(record, programs)
    controlplane.start_control_plane(record, programs, wait)
    if provider == "node":
        node.finish(record, programs, wait)
    record = replace(record, details={"built": built, "complete": "yes"})
    save(record)
    return record


def _stop(record: Record) -> None:
    left = node.stop(record) if record.provider == "node" else []
    left += controlplane.stop_control_plane(record)
    if left:
        raise ClusterError(
            f"Of cluster {record.name} these could not be ended or removed: {', '.join(left)}. Their logs are in "
            f"{record.folder / 'logs'}. Try `python -m tests.cluster down --name {record.name}` again."
        )


def _cluster_lock(name: str) -> AbstractContextManager[None]:
    return file_lock(cluster_folder(name).with_suffix(".lock"), f"changing cluster {name}")
