"""Debian's package manager, one caller at a time: test processes run side by side, and apt-get refuses a second one."""

import os
import shutil
import subprocess
from pathlib import Path

from tests.cluster.folders import cache_folder
from tests.cluster.locks import file_lock

_SECONDS = 900.0


def is_usable() -> bool:
    """Whether packages can be installed here."""
    return os.geteuid() == 0 and shutil.which("apt-get") is not None


def apt_get(*arguments: str, cwd: Path | None = None) -> str | None:
    """None when it worked, else the end of what it said. Nobody is asked anything."""
    with file_lock(cache_folder() / "apt.lock", "installing packages"):
        done = subprocess.run(
            ["apt-get", *arguments],
            cwd=cwd,
            env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
            capture_output=True,
            text=True,
            check=False,
            timeout=_SECONDS,
        )
    return (done.stderr.strip() or "it gave no reason")[-500:] if done.returncode else None
