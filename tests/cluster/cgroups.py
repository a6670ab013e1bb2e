"""The cgroup that holds a node's pods: made before the kubelet starts, removed after everything in it has ended."""

import os
from pathlib import Path

from tests.cluster.report import ClusterError

ROOT = Path("/sys/fs/cgroup")
_NEEDED = ("cpu", "cpuset", "memory", "pids")


def make_cgroup(name: str, root: Path = ROOT) -> None:
    """Make the cgroup `name` in every hierarchy (version 1) or with the controllers that pods need (version 2)."""
    if (root / "cgroup.controllers").exists():
        _make_unified(name, root)
        return
    for hierarchy in _hierarchies(root):
        (hierarchy / name).mkdir(exist_ok=True)
        for setting in ("cpuset.cpus", "cpuset.mems"):
            # A cpuset starts without processors and memory, and nothing can enter it until it has some.
            if (hierarchy / name / setting).exists():
                (hierarchy / name / setting).write_text((hierarchy / setting).read_text())


def remove_cgroup(name: str, root: Path = ROOT) -> bool:
    """Remove the cgroup `name` everywhere; False when processes are still in it."""
    folders = [root] if (root / "cgroup.controllers").exists() else _hierarchies(root)
    gone = True
    for folder in folders:
        for parent, _, _ in os.walk(folder / name, topdown=False):
            try:
                Path(parent).rmdir()
            except OSError:
                gone = False
    return gone


def _hierarchies(root: Path) -> list[Path]:
    return [folder for folder in sorted(root.iterdir()) if folder.is_dir() and not folder.is_symlink()]


def _make_unified(name: str, root: Path) -> None:
    folder = root / name
    folder.mkdir(exist_ok=True)
    available = (root / "cgroup.controllers").read_text().split()
    if lacking := [controller for controller in _NEEDED if controller not in available]:
        raise ClusterError(
            f"This machine's cgroups lack {', '.join(lacking)}, which pods need; they cannot be had here."
        )
    wanted = " ".join(f"+{controller}" for controller in _NEEDED)
    try:
        (root / "cgroup.subtree_control").write_text(wanted)
        (folder / "cgroup.subtree_control").write_text(wanted)
    except OSError as error:
        raise ClusterError(
            f"The cgroup controllers for pods could not be enabled in {root} ({error.strerror}). In a container, start "
            "it with the host's cgroup namespace (--cgroupns=host --privileged), or use kind."
        ) from error
