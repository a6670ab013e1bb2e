"""The real command, in a process of its own and a folder of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
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


@pytest.fixture
def simulator(tmp_path: Path) -> Iterator[Callable[..., Path]]:
    """Serves `towline simulate NAME ARGUMENTS` on a free port until the test ends; the file with its manifests."""
    running: list[subprocess.Popen[bytes]] = []

    def start(name: str, *arguments: str) -> Path:
        file = tmp_path / f"{name}.yaml"
        command = [BIN / "towline", "simulate", name, "--port", "0", "--write", str(file), *arguments]
        log = tmp_path / f"{name}.log"
        with log.open("wb") as stderr:
            running.append(subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=stderr))
        deadline = time.monotonic() + 60
        while not file.exists() or "In another terminal" not in log.read_text():
            assert running[-1].poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)
        return file

    yield start
    for process in running:
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0
