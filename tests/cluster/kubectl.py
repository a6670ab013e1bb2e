"""Runs kubectl against one named kubeconfig, never against the user's current context."""

import os
import shutil
import subprocess
from pathlib import Path

from tests.cluster.binaries import KUBECTL, KUBERNETES, build, built_folder, is_built
from tests.cluster.report import ClusterError


def find_kubectl() -> Path:
    """Our own kubectl when it is built, else the one on PATH, else ours is built."""
    if is_built(KUBERNETES):
        return built_folder(KUBERNETES) / "kubectl"
    if found := shutil.which("kubectl"):
        return Path(found)
    return build([KUBECTL])["kubectl"]


def kubectl(
    kubeconfig: Path, *arguments: str, stdin: str | None = None, timeout: float = 120.0, check: bool = True
) -> str:
    """What kubectl prints (standard output, then standard error when `check` is off).

    ClusterError with kubectl's own words when it fails and `check` is on.
    """
    environment = {key: value for key, value in os.environ.items() if key != "KUBECONFIG"}
    result = subprocess.run(
        [str(find_kubectl()), f"--kubeconfig={kubeconfig}", *arguments],
        input=stdin,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
        env=environment,
    )
    if not check:
        return result.stdout + result.stderr
    if result.returncode:
        raise ClusterError(f"kubectl {' '.join(arguments)} failed: {result.stderr.strip()[-2000:]}")
    return result.stdout


def apply(kubeconfig: Path, manifest: str) -> str:
    """Server-side apply of YAML or JSON text."""
    return kubectl(kubeconfig, "apply", "--server-side", "--force-conflicts", "-f", "-", stdin=manifest)
