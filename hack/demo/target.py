"""The cluster that the demo uses, and how images and the chart come into it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hack.chart import CHART
from hack.demo.helm import helm_program
from hack.demo.steps import DemoError, say
from tests.cluster import lifecycle
from tests.cluster.images import Image, build_image
from tests.cluster.kubectl import kubectl
from tests.cluster.record import Record, load_all

RELEASE = "towline"
SYSTEM_NAMESPACE = "towline-system"
RESTRICTED = {"pod-security.kubernetes.io/enforce": "restricted"}
CRDS = ("connectors.towline.dev", "integrations.towline.dev", "syncjobs.towline.dev")


@dataclass(frozen=True)
class Target:
    """A cluster that runs pods. `record` is None when Towline's own tools did not make it."""

    kubeconfig: Path
    record: Record | None = None

    def kubectl(self, *arguments: str, stdin: str | None = None, timeout: float = 120.0, check: bool = True) -> str:
        """What kubectl prints; ClusterError with its words when it fails and `check` is on."""
        return kubectl(self.kubeconfig, *arguments, stdin=stdin, timeout=timeout, check=check)

    def objects(self, *arguments: str) -> list[dict[str, Any]]:
        """The items of `kubectl get … -o json`; empty when there are none."""
        text = self.kubectl("get", *arguments, "--ignore-not-found", "-o", "json")
        if not text.strip():
            return []
        found: dict[str, Any] = json.loads(text)
        items: list[dict[str, Any]] = found["items"] if str(found.get("kind", "")).endswith("List") else [found]
        return items

    def apply(self, *documents: dict[str, Any] | str) -> None:
        """Server-side apply of objects or YAML texts."""
        text = "\n---\n".join(each if isinstance(each, str) else json.dumps(each) for each in documents)
        self.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=text)

    def namespace(self, name: str, **labels: str) -> None:
        """A namespace in which only `restricted` pods may run."""
        self.apply(
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": {**RESTRICTED, **labels}}}
        )

    def image(self, image: Image) -> str:
        """The reference of `image` in this cluster, built and loaded where that is possible.

        A variable such as TOWLINE_IMAGE or TOWLINE_SLAPD_IMAGE names one that the cluster pulls by itself.
        """
        variable = f"{image.name.upper().replace('-', '_')}_IMAGE"
        if named := os.environ.get(variable):
            return named
        if self.record is None:
            raise DemoError(
                f"Towline's own tools did not make this cluster, so its images come from a registry. Build "
                f"{image.name} (python -m tests.cluster image), push it, and name it in {variable}."
            )
        return build_image(image, self.record)


def find_target(name: str, provider: str = "auto") -> Target:
    """The running cluster: the one that TOWLINE_KUBECONFIG names, else the cluster `name`, brought up."""
    cluster = lifecycle.up(name, provider, need_pods=True)
    return target_of(cluster.kubeconfig)


def target_of(kubeconfig: Path) -> Target:
    """The target behind a kubeconfig; a cluster of our own tools is recognised by its file."""
    path = kubeconfig.resolve()
    record = next((each for each in load_all() if each.kubeconfig.resolve() == path), None)
    return Target(path, record)


def host_address(target: Target) -> str:
    """An address of this machine that pods can reach; DemoError where the cluster is not on this machine."""
    if target.record is not None and target.record.provider == "node":
        return target.record.addresses.host
    for engine in ("docker", "podman"):
        command = [engine, "network", "inspect", "kind"]
        found = subprocess.run(command, capture_output=True, text=True, check=False) if shutil.which(engine) else None
        if found is not None and found.returncode == 0:
            for network in json.loads(found.stdout)[0].get("IPAM", {}).get("Config", []):
                if "." in network.get("Gateway", ""):
                    return str(network["Gateway"])
    raise DemoError("This serves a vendor from this machine, so it needs a cluster on this machine.")


def helm(target: Target, *arguments: str, timeout: float = 600.0) -> str:
    """Run helm against the target; DemoError with its words when it fails."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("HELM_", "KUBECONFIG"))}
    result = subprocess.run(
        [str(helm_program()), "--kubeconfig", str(target.kubeconfig), *arguments],
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
        env=environment,
    )
    if result.returncode:
        raise DemoError(f"helm {' '.join(arguments[:2])} failed: {result.stderr.strip()[-1500:]}")
    return result.stdout


def install(
    target: Target, image: str, values: Sequence[str] = (), *, namespace: str = SYSTEM_NAMESPACE, wait: str = "3m"
) -> str:
    """Install or upgrade the chart with this image and these `--set` values; helm's notes."""
    target.namespace(namespace)
    repository, _, tag = image.rpartition(":")
    arguments = ["upgrade", "--install", RELEASE, str(CHART), "--namespace", namespace, "--take-ownership"]
    arguments += ["--set", f"image.repository={repository}", "--set-string", f"image.tag={tag}"]
    arguments += ["--set", "replicas=1"]  # one machine: a stand-by would die together with the leader
    # The simulated systems are pods, behind Services: private addresses, which are closed by default.
    arguments += ["--set", "egress.allow={10.0.0.0/8,172.16.0.0/12,192.168.0.0/16}"]
    for value in values:
        arguments += ["--set", value]
    return helm(target, *arguments, "--wait", "--timeout", wait)


def uninstall(target: Target, *, namespace: str = SYSTEM_NAMESPACE) -> None:
    """Remove the release and its namespace; the definitions stay, as the chart says."""
    helm(target, "uninstall", RELEASE, "--namespace", namespace, "--ignore-not-found", "--wait", "--timeout", "2m")
    target.kubectl("delete", "namespace", namespace, "--ignore-not-found", timeout=180)


def remove(target: Target, namespace: str) -> None:
    """Take the demo out of a cluster that stays: its namespaces and, when nobody else uses them, the definitions."""
    say(f"  deleting namespace {namespace}")
    target.kubectl("delete", "namespace", namespace, "--ignore-not-found", timeout=300)
    say("  uninstalling Towline")
    uninstall(target)
    present = {each["metadata"]["name"] for each in target.objects("crd")}
    if not present.issuperset(CRDS):
        return
    others = target.objects("integrations.towline.dev", "--all-namespaces")
    if others:
        where = ", ".join(sorted({each["metadata"]["namespace"] for each in others}))
        say(f"✔ The demo is removed. The definitions stay: there are Integrations in {where}.")
        return
    target.kubectl("delete", "crd", *CRDS, timeout=120)
    say("✔ The demo is removed.")
