"""A real server that answers as AWS does: moto's. It has an environment of its own, for its libraries want other
versions than ours.

    from tests.moto import Moto, moto  # noqa: F401
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.cluster.network import free_port

PACKAGES = ("moto[s3,server]==5.2.5",)
_START_SECONDS = 60


@dataclass(frozen=True, slots=True)
class Moto:
    """A running server. It takes any credentials."""

    url: str

    def reset(self) -> None:
        """Forget everything."""
        urllib.request.urlopen(urllib.request.Request(f"{self.url}/moto-api/reset", method="POST")).close()

    def make_bucket(self, name: str) -> None:
        urllib.request.urlopen(urllib.request.Request(f"{self.url}/{name}", method="PUT")).close()


def environment() -> Path | None:
    """The environment's folder, made when it does not exist; None when that fails."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "towline"
    cache.mkdir(parents=True, exist_ok=True)
    folder = cache / f"moto-{PACKAGES[0].rpartition('=')[2]}-{sys.version_info.major}.{sys.version_info.minor}"
    with (cache / "moto.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if (folder / "complete").exists():
            return folder
        shutil.rmtree(folder, ignore_errors=True)
        steps = [
            [sys.executable, "-m", "venv", str(folder)],
            [str(folder / "bin" / "pip"), "install", "--quiet", "--disable-pip-version-check", *PACKAGES],
        ]
        if any(subprocess.run(step, capture_output=True, check=False, timeout=400).returncode for step in steps):
            return None
        (folder / "complete").touch()
        return folder


@pytest.fixture(scope="session")
def moto() -> Iterator[Moto]:
    """One server for the whole test session."""
    folder = environment()
    if folder is None:
        pytest.skip("moto's server is not here and cannot be installed")
    port = free_port()
    command = [str(folder / "bin" / "moto_server"), "-H", "127.0.0.1", "-p", str(port)]
    # Should the tests be killed, the server goes with them.
    bound = ["setpriv", "--pdeathsig", "KILL"] if shutil.which("setpriv") else []
    pipe = subprocess.DEVNULL
    with subprocess.Popen([*bound, *command], stdout=pipe, stderr=pipe, start_new_session=True) as process:
        try:
            server = Moto(f"http://127.0.0.1:{port}")
            deadline = time.monotonic() + _START_SECONDS
            while True:
                try:
                    server.reset()
                    break
                except (urllib.error.URLError, ConnectionError):
                    if process.poll() is not None or time.monotonic() > deadline:
                        pytest.fail("moto's server did not start")
                    time.sleep(0.05)
            yield server
        finally:
            process.kill()
