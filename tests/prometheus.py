"""A real Prometheus and promtool for tests: Debian's package, unpacked into the cache and not installed, since its
installation would start a service.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.parse import urlencode
from urllib.request import urlopen

from tests.cluster.apt import apt_get
from tests.cluster.folders import cache_folder
from tests.cluster.locks import file_lock
from tests.cluster.network import free_port

START_SECONDS = 60


def program(name: str) -> Path:
    """Path of `prometheus` or `promtool`. Raises RuntimeError where neither is here nor can be fetched."""
    if found := shutil.which(name):
        return Path(found)
    folder = cache_folder() / "prometheus"
    path = folder / "root" / "usr" / "bin" / name
    with file_lock(cache_folder() / "prometheus.lock", "fetching Prometheus"):
        if not path.exists():
            _unpack(folder)
    return path


def _unpack(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    if shutil.which("apt-get") is None:
        raise RuntimeError("Install Prometheus: its programs prometheus and promtool are needed in PATH.")
    download = ("download", "-q", "-o", "APT::Sandbox::User=root", "prometheus")
    if apt_get(*download, cwd=folder):
        apt_get("update", "-q")
        if failure := apt_get(*download, cwd=folder):
            raise RuntimeError(f"Debian's package prometheus could not be fetched: {failure}")
    (package,) = folder.glob("prometheus_*.deb")
    subprocess.run(["dpkg-deb", "--extract", str(package), str(folder / "root")], check=True)
    package.unlink()


@dataclass(frozen=True)
class Prometheus:
    url: str

    def query(self, expression: str) -> list[dict[str, Any]]:
        """The series that an instant query gives."""
        with urlopen(f"{self.url}/api/v1/query?{urlencode({'query': expression})}", timeout=10) as answer:
            found: list[dict[str, Any]] = json.load(answer)["data"]["result"]
            return found


@contextmanager
def scraping(target: str, folder: Path) -> Iterator[Prometheus]:
    """A Prometheus on a free port of loopback that reads `http://TARGET/metrics` every second."""
    configuration = {
        "global": {"scrape_interval": "1s"},
        "scrape_configs": [{"job_name": "towline", "honor_labels": True, "static_configs": [{"targets": [target]}]}],
    }
    (folder / "prometheus.yml").write_text(json.dumps(configuration))  # JSON is YAML
    address = f"127.0.0.1:{free_port()}"
    command = [str(program("prometheus")), f"--config.file={folder / 'prometheus.yml'}",
               f"--storage.tsdb.path={folder / 'data'}", f"--web.listen-address={address}"]  # fmt: skip
    with (folder / "prometheus.log").open("wb") as log, subprocess.Popen(command, stdout=log, stderr=log) as process:
        try:
            _wait(f"http://{address}/-/ready", process, folder / "prometheus.log")
            yield Prometheus(f"http://{address}")
        finally:
            process.terminate()


def _wait(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            with urlopen(url, timeout=1):
                return
        except (URLError, OSError):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"Prometheus did not start: {log.read_text()[-500:]}") from None
            time.sleep(0.1)
