"""Debian packages that the node and its images need: installed when they are missing and we may."""

import os
import shutil
import subprocess
from collections.abc import Collection
from pathlib import Path

from tests.cluster.report import ClusterError, step

# A file or command that shows a package to be there, and the package.
NODE_TOOLS = {
    "containerd": "containerd",
    "runc": "runc",
    "/usr/lib/cni/ptp": "containernetworking-plugins",
    "iptables": "iptables",
    "ip": "iproute2",
    "nsenter": "util-linux",
    "openssl": "openssl",
}
IMAGE_TOOLS = {"buildah": "buildah", "mmdebstrap": "mmdebstrap"}


def missing_packages(tools: dict[str, str]) -> list[str]:
    """The packages among `tools` whose command or file is not here."""
    return sorted({package for tool, package in tools.items() if not _is_here(tool)})


def ensure_packages(tools: dict[str, str]) -> None:
    """Install what is missing of `tools` by apt-get; ClusterError names what to install where that cannot be done."""
    missing = missing_packages(tools)
    if not missing:
        return
    if shutil.which("apt-get") is None or os.geteuid() != 0:
        raise ClusterError(f"These programs are missing: {', '.join(missing)}. Install them and try again.")
    with step(f"installing Debian packages: {', '.join(missing)}"):
        if not _apt("install", missing):
            _apt("update", [])
            _apt("install", missing)
    if still := missing_packages(tools):
        packages = " ".join(still)
        raise ClusterError(
            f"apt-get could not install {packages}. See why: apt-get update && apt-get install {packages}"
        )


def _apt(verb: str, packages: Collection[str]) -> bool:
    # The machine's own containerd service has no part in this; noninteractive, since nobody may be there to answer.
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    flags = ["-q", "-y", "--no-install-recommends"] if verb == "install" else ["-q"]
    command = ["apt-get", verb, *flags, *packages]
    return subprocess.run(command, capture_output=True, check=False, env=environment).returncode == 0


def _is_here(tool: str) -> bool:
    if tool.startswith("/"):
        return Path(tool).exists()
    return shutil.which(tool, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin") is not None
