"""Debian packages that the node and its images need: installed when they are missing and we may."""

import os
import shutil
from collections.abc import Collection
from pathlib import Path

from tests.cluster.apt import apt_get, is_usable
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
    if not is_usable():
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
    flags = ["-q", "-y", "--no-install-recommends"] if verb == "install" else ["-q"]
    return apt_get(verb, *flags, *packages) is None


def _is_here(tool: str) -> bool:
    if tool.startswith("/"):
        return Path(tool).exists()
    return shutil.which(tool, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin") is not None
