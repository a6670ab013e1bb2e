"""A real LDAP server for tests: Debian's slapd on free ports, TLS by a CA of its own, loaded with a made-up directory.

Exactly the processes that were started are stopped.
"""

# ruff: noqa: S603, S607 - openssl and slapd with arguments of our own
from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import ldap3

from towline_connectors.catalogue.iam import directory

START_SECONDS = 60


@dataclass
class Slapd:
    """A running directory server."""

    options: directory.Options
    folder: Path
    ca: Path
    plain_port: int
    tls_port: int
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @property
    def url(self) -> str:
        return f"ldaps://localhost:{self.tls_port}"

    @property
    def plain_url(self) -> str:
        """For StartTLS; the server refuses a simple bind without."""
        return f"ldap://localhost:{self.plain_port}"

    def start(self) -> None:
        addresses = f"ldap://127.0.0.1:{self.plain_port} ldaps://127.0.0.1:{self.tls_port}"
        arguments = [_program("slapd"), "-d", "0", "-h", addresses, "-f", str(self.folder / "slapd.conf")]
        with (self.folder / "slapd.log").open("ab") as log:
            self.process = subprocess.Popen(arguments, stdout=log, stderr=log)
        deadline = time.monotonic() + START_SECONDS
        while True:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.tls_port)) == 0:
                    return
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"slapd did not start: {(self.folder / 'slapd.log').read_text()[-500:]}")
            time.sleep(0.02)

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            try:
                self.process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
            self.process = None

    @contextmanager
    def admin(self) -> Iterator[ldap3.Connection]:
        """A connection that may change everything; every operation has to succeed."""
        tls = ldap3.Tls(ca_certs_file=str(self.ca))
        server = ldap3.Server("localhost", self.tls_port, use_ssl=True, tls=tls, get_info=ldap3.NONE)
        with ldap3.Connection(
            server, self.options.admin, directory.ADMIN_PASSWORD, raise_exceptions=True, check_names=False
        ) as connection:
            yield connection

    def commit_usn(self, usn: int) -> None:
        """Let the root entry of the domain controller name another highestCommittedUSN; slapd reads it at its start."""
        (self.folder / "root-dse.ldif").write_text(directory.root_dse(self.options, usn))
        self.stop()
        self.start()

    def entry(self, dn: str, *attributes: str) -> dict[str, Any]:
        with self.admin() as connection:
            connection.search(dn, "(objectClass=*)", ldap3.BASE, attributes=list(attributes))
            assert connection.response is not None
            return dict(connection.response[0]["raw_attributes"])


def installed() -> bool:
    """Whether slapd is there."""
    return bool(_program("slapd") and _program("slapadd"))


@contextmanager
def running(options: directory.Options, folder: Path) -> Iterator[Slapd]:
    """A server with that directory, until the end of the block."""
    folder.mkdir(parents=True, exist_ok=True)
    ca = certificates(folder)
    directory.write(options, folder, certificate=str(folder / "server.crt"), key=str(folder / "server.key"))
    loaded = subprocess.run(
        [_program("slapadd"), "-q", "-f", str(folder / "slapd.conf"), "-l", str(folder / "data.ldif")],
        capture_output=True,
        text=True,
        timeout=300,
    )
    if loaded.returncode != 0:
        raise RuntimeError(f"slapadd: {loaded.stderr[-500:]}")
    plain, tls = _free_ports(2)
    server = Slapd(options, folder, ca, plain, tls)
    server.start()
    try:
        yield server
    finally:
        server.stop()


def certificates(folder: Path, name: str = "localhost") -> Path:
    """A CA and a certificate for `name`, made with openssl: ca.crt, server.crt, server.key. Gives the CA's path."""
    key = ["-newkey", "rsa:2048", "-nodes"]
    own = ["-keyout", f"{folder}/ca.key", "-out", f"{folder}/ca.crt"]
    _openssl("req", "-x509", *key, "-days", "2", "-subj", "/CN=Test CA", *own)
    request = ["-keyout", f"{folder}/server.key", "-out", f"{folder}/server.csr"]
    _openssl("req", *key, "-subj", f"/CN={name}", *request)
    (folder / "names").write_text(f"subjectAltName=DNS:{name}\nbasicConstraints=critical,CA:FALSE\n")
    ca = ["-CA", f"{folder}/ca.crt", "-CAkey", f"{folder}/ca.key", "-CAcreateserial"]
    names = ["-extfile", f"{folder}/names", "-days", "2"]
    _openssl("x509", "-req", "-in", f"{folder}/server.csr", *ca, *names, "-out", f"{folder}/server.crt")
    return folder / "ca.crt"


def _openssl(*arguments: str) -> None:
    done = subprocess.run(["openssl", *arguments], capture_output=True, text=True, timeout=60)
    if done.returncode != 0:
        raise RuntimeError(f"openssl {arguments[0]}: {done.stderr[-400:]}")


def _program(name: str) -> str:
    return shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin:/usr/lib/openldap") or ""


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()
