"""A real PostgreSQL for tests: a private server in a folder of its own, on a free port, stopped at the end.

Import the fixture where it is needed: `from tests.postgres import postgresql  # noqa: F401`.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest
from tests.cluster.apt import apt_get, is_usable
from tests.cluster.network import free_port

_START_SECONDS = 60


@dataclass(frozen=True)
class Postgresql:
    """A running server. `url` is its superuser's, on database postgres."""

    host: str
    port: int
    password: str
    pid: int

    @property
    def url(self) -> str:
        return self.url_of("postgres")

    def url_of(self, database: str, user: str = "postgres", password: str | None = None) -> str:
        return f"postgresql://{user}:{password or self.password}@{self.host}:{self.port}/{database}"

    def new_database(self) -> str:
        """Make an empty database; its URL."""
        name = f"t_{secrets.token_hex(6)}"
        self.execute(f'CREATE DATABASE "{name}"')
        return self.url_of(name)

    def execute(self, sql: str) -> None:
        self.execute_in(self.url, sql)

    def execute_in(self, url: str, sql: str) -> None:
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(sql.encode())


def find_binaries() -> Path | None:
    """The folder of PostgreSQL's server programs; the newest version there is."""
    on_path = shutil.which("initdb")
    if on_path:
        return Path(on_path).resolve().parent
    found = [path for path in Path("/usr/lib/postgresql").glob("*/bin") if (path / "initdb").exists()]
    return max(found, key=lambda path: int(path.parent.name.split(".")[0]), default=None)


def install() -> Path | None:
    """Install Debian's PostgreSQL without a cluster of its own. None where that cannot be done."""
    if not is_usable():
        return None
    conf = Path("/etc/postgresql-common/createcluster.conf")
    if not conf.exists():
        conf.parent.mkdir(exist_ok=True)
        conf.write_text("create_main_cluster = false\n")
    apt_get("update", "-qq")
    apt_get("install", "-y", "-qq", "--no-install-recommends", "-oDpkg::Options::=--force-confold", "postgresql")
    return find_binaries()


@contextlib.contextmanager
def serve(binaries: Path, *settings: str) -> Iterator[Postgresql]:
    """Run a server until the block ends. PostgreSQL refuses to run as root, so it then runs as its own user."""
    user = ("postgres" if _exists("postgres") else "nobody") if os.geteuid() == 0 else None
    folder = Path(tempfile.mkdtemp(prefix="towline-postgresql-"))
    try:
        password = secrets.token_hex(8)
        secret = folder / "password"
        secret.write_text(password)
        data = folder / "data"
        data.mkdir()
        if user:
            for path in (folder, secret, data):
                shutil.chown(path, user)
        subprocess.run(
            [
                str(binaries / "initdb"), "-D", str(data), "-U", "postgres", "--pwfile", str(secret), "-N",
                "--auth=scram-sha-256", "--encoding=UTF8", "--locale=C.UTF-8",
            ],
            check=True, capture_output=True, user=user, cwd=folder,
        )  # fmt: skip
        port = free_port()
        options = [f"port={port}", "listen_addresses=127.0.0.1", f"unix_socket_directories={folder}"]
        options += ["fsync=off", "full_page_writes=off", "synchronous_commit=off", "log_min_messages=fatal", *settings]
        # Should the tests be killed, the server goes with them.
        bound = ["setpriv", "--pdeathsig", "INT"] if shutil.which("setpriv") else []
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(
                [*bound, str(binaries / "postgres"), "-D", str(data), *(f"-c{option}" for option in options)],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, user=user, cwd=folder, start_new_session=True,
            )  # fmt: skip
        try:
            server = Postgresql("127.0.0.1", port, password, process.pid)
            _wait(server, process, folder / "log")
            yield server
        finally:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _exists(user: str) -> bool:
    return subprocess.run(["id", "-u", user], capture_output=True, check=False).returncode == 0


def _wait(server: Postgresql, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while True:
        try:
            psycopg.connect(server.url, connect_timeout=2).close()
        except psycopg.OperationalError:
            if process.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"PostgreSQL did not start: {log.read_text()[-2000:]}")
            time.sleep(0.05)
        else:
            return


@pytest.fixture(scope="session")
def postgresql() -> Iterator[Postgresql]:
    """One server for the whole test session."""
    binaries = find_binaries() or install()
    if binaries is None:
        pytest.skip("PostgreSQL's server programs are not here and cannot be installed")
    with serve(binaries) as server:
        yield server
