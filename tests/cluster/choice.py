"""Which kind of cluster this machine gets."""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.cluster.report import ClusterError

PROVIDERS = ("existing", "kind", "node", "control-plane")


@dataclass(frozen=True)
class Machine:
    """What the choice depends on; `container_engine` is the client whose daemon answers, if any."""

    linux: bool
    root: bool
    container_engine: str | None


def look_at_machine() -> Machine:
    """This machine as it is now; asking Docker and Podman takes a second at most when they are absent."""
    return Machine(
        linux=sys.platform == "linux",
        root=hasattr(os, "geteuid") and os.geteuid() == 0,
        container_engine=next((name for name in ("docker", "podman") if engine_answers(name)), None),
    )


def engine_answers(client: str) -> bool:
    """Whether `client` is there and its daemon answers: a client alone cannot run anything."""
    if shutil.which(client) is None:
        return False
    try:
        return subprocess.run([client, "info"], capture_output=True, timeout=20, check=False).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def named_kubeconfig(option: str | None, environment: Mapping[str, str]) -> Path | None:
    """The cluster that the user names by option or `TOWLINE_KUBECONFIG`; never the current context of KUBECONFIG."""
    text = option or environment.get("TOWLINE_KUBECONFIG")
    if not text:
        return None
    path = Path(text).expanduser()
    if not path.is_file():
        raise ClusterError(
            f"There is no kubeconfig at {path}. Correct --kubeconfig or TOWLINE_KUBECONFIG, or leave it out."
        )
    return path.resolve()


def choose(wanted: str, kubeconfig: Path | None, machine: Machine, need_pods: bool = False) -> str:
    """The provider: the one that is `wanted`, or for `auto` the best that this machine allows.

    ClusterError when the wanted one cannot work here, or when `need_pods` and nothing here can run pods.
    """
    if wanted == "existing" or (wanted == "auto" and kubeconfig):
        if kubeconfig is None:
            raise ClusterError("An existing cluster must be named: give --kubeconfig or set TOWLINE_KUBECONFIG.")
        return "existing"
    if wanted == "auto":
        wanted = _best(machine, need_pods)
    if wanted == "kind" and machine.container_engine is None:
        raise ClusterError(
            "kind needs Docker or Podman, and no daemon of either answers here. Start one, or leave --provider out."
        )
    if wanted == "node" and not (machine.linux and machine.root):
        raise ClusterError(
            "A node of our own needs Linux and root. Run as root, or start Docker and use --provider kind."
        )
    if wanted == "control-plane" and not machine.linux:
        raise ClusterError("The control plane alone needs Linux. Start Docker and use --provider kind.")
    return wanted


def _best(machine: Machine, need_pods: bool) -> str:
    if machine.container_engine:
        return "kind"
    if machine.linux and machine.root:
        return "node"
    if machine.linux and not need_pods:
        return "control-plane"
    raise ClusterError(
        "Nothing here can run pods: start Docker or Podman, or run as root on Linux, or name a cluster with "
        "TOWLINE_KUBECONFIG."
    )
