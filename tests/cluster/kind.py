"""A cluster by the unmodified kind CLI, where Docker or Podman answers."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from tests.cluster import processes
from tests.cluster.addons import STORAGE_CLASS, STORAGE_PROVISIONER, storage_manifest
from tests.cluster.binaries import KIND, build
from tests.cluster.choice import engine_answers
from tests.cluster.folders import CHECKOUT
from tests.cluster.kubectl import apply, kubectl
from tests.cluster.record import Record, save
from tests.cluster.report import ClusterError, step

_PROVISIONER = "provisioner"
_LABEL = "io.x-k8s.kind.cluster"


def container_engine() -> str:
    """`docker` or `podman`, whichever daemon answers; ClusterError when none does."""
    for client in ("docker", "podman"):
        if engine_answers(client):
            return client
    raise ClusterError("Neither Docker nor Podman answers. Start one of them and try again.")


def find_kind() -> Path:
    """The kind CLI on PATH, else the pinned one, built from its Go module."""
    if found := shutil.which("kind"):
        return Path(found)
    return build([KIND])["kind"]


def up(name: str, wait: float, node_image: str | None) -> Record:
    """A running kind cluster called `name`; one that runs already is reused.

    `node_image` (or `KIND_IMAGE`) replaces the image that this kind would take.
    """
    record = Record(name, "kind", details={"complete": "yes"})
    engine = container_engine()
    if _containers(engine, name):
        exported = _kind(engine, "export", "kubeconfig", "--name", name, "--kubeconfig", str(record.kubeconfig)) is None
        if exported and _api_is_ready(record, wait):
            save(record)
            _ensure_volumes(record, engine)
            return record
        with step(f"removing the broken kind cluster {name}"):
            _kind(engine, "delete", "cluster", "--name", name, "--kubeconfig", str(record.kubeconfig))
    save(record)
    image = node_image or os.environ.get("KIND_IMAGE")
    command = ["create", "cluster", "--name", name, "--kubeconfig", str(record.kubeconfig), "--wait", f"{wait:.0f}s"]
    with step("kind create cluster"):
        failure = _kind(engine, *command, *(["--image", image] if image else []))
    if failure:
        raise ClusterError(f"kind could not create cluster {name}: {failure}")
    record.kubeconfig.chmod(0o600)
    _ensure_volumes(record, engine)
    return record


def down(record: Record) -> None:
    """Delete the cluster's containers; ClusterError when kind cannot."""
    engine = container_engine()
    processes.stop(record.pid_file(_PROVISIONER))
    failure = _kind(engine, "delete", "cluster", "--name", record.name, "--kubeconfig", str(record.kubeconfig))
    if failure or _containers(engine, record.name):
        raise ClusterError(
            f"kind could not delete cluster {record.name}: {failure or 'its containers are still there'}"
        )


def load_image(record: Record, reference: str) -> None:
    """Put an image of the container engine into the cluster."""
    engine = container_engine()
    if failure := _kind(engine, "load", "docker-image", reference, "--name", record.name):
        raise ClusterError(f"kind could not load {reference} into {record.name}: {failure}")


def load_archive(record: Record, archive: Path) -> None:
    """Put an image archive into the cluster."""
    if failure := _kind(container_engine(), "load", "image-archive", str(archive), "--name", record.name):
        raise ClusterError(f"kind could not load {archive.name} into {record.name}: {failure}")


def component_states(record: Record) -> dict[str, str]:
    """Each node's container and whether it runs."""
    try:
        found = _containers(container_engine(), record.name)
    except ClusterError:
        return {"container engine": "not running"}
    states = found or {f"{record.name}-control-plane": "not running"}
    return {**states, "API server": "ready" if _api_is_ready(record, 0) else "not ready"}


def _ensure_volumes(record: Record, engine: str) -> None:
    """See to it that pods can write to volumes of the default class.

    kind's own provisioner makes folders for everyone. Kubernetes' built-in one, which some node images have instead,
    makes them for root alone: then ours takes its place.
    """
    name = ("storageclass", STORAGE_CLASS)
    provisioner = kubectl(record.kubeconfig, "get", *name, "--output=jsonpath={.provisioner}", check=False).strip()
    if provisioner == "kubernetes.io/host-path":
        kubectl(record.kubeconfig, "delete", *name)
        apply(record.kubeconfig, storage_manifest())
    elif provisioner != STORAGE_PROVISIONER:
        return
    if processes.is_alive(processes.read_record(record.pid_file(_PROVISIONER))):
        return
    command = [sys.executable, "-m", "tests.cluster.provisioner", str(record.kubeconfig), "/var/lib/towline/tmp"]
    on_node = [engine, "exec", f"{record.name}-control-plane"]
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT), "PYTHONUNBUFFERED": "1"}
    processes.start(record.pid_file(_PROVISIONER), [*command, *on_node], record.log(_PROVISIONER), environment)


def _api_is_ready(record: Record, wait: float) -> bool:
    """Whether the API server answers; containers that were just started get `wait` seconds."""
    deadline = time.monotonic() + wait
    while kubectl(record.kubeconfig, "get", "--raw=/readyz", "--request-timeout=5s", check=False).strip() != "ok":
        if time.monotonic() > deadline or "not running" in _containers(container_engine(), record.name).values():
            return False
        time.sleep(1)
    return True


def _containers(engine: str, name: str) -> dict[str, str]:
    result = subprocess.run(
        [engine, "ps", "--all", "--filter", f"label={_LABEL}={name}", "--format", "{{.Names}} {{.State}}"],
        capture_output=True,
        text=True,
        check=False,
    )
    pairs = (line.split(" ", 1) for line in result.stdout.splitlines() if " " in line)
    return {container: "running" if state == "running" else "not running" for container, state in pairs}


def _kind(engine: str, *arguments: str) -> str | None:
    """Run kind; None when it worked, else the end of what it said."""
    environment = {**os.environ, "KIND_EXPERIMENTAL_PROVIDER": engine}
    result = subprocess.run(
        [str(find_kind()), *arguments], capture_output=True, text=True, check=False, env=environment
    )
    return (result.stderr.strip() or "kind gave no reason")[-1500:] if result.returncode else None
