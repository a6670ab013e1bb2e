"""The real command, in a process of its own and a folder of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

BIN = Path(sys.executable).parent
Towline = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def towline(tmp_path: Path) -> Towline:
    """Runs `towline ARGUMENTS` in `tmp_path`; keyword arguments are its environment, `stdin` its input."""

    def run(*arguments: str, stdin: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("TOWLINE_", "KUBE"))}
        return subprocess.run(
            [BIN / "towline", *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=180,
            cwd=tmp_path,
            env={**inherited, "PYTHONUTF8": "1", **environment},
        )

    return run
