"""The certificates of a cluster, made by the openssl command (1.1.1 or newer): P-256 keys, valid for ten years."""

import secrets
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from tests.cluster.report import ClusterError

_DAYS = "3650"


@dataclass(frozen=True)
class Pair:
    """A certificate and its private key, both PEM files."""

    certificate: Path
    key: Path

    def exists(self) -> bool:
        return self.certificate.is_file() and self.key.is_file()


def pair(folder: Path, name: str) -> Pair:
    """The file names of the certificate `name` in `folder`."""
    return Pair(folder / f"{name}.crt", folder / f"{name}.key")


def make_authority(folder: Path, name: str) -> Pair:
    """A certificate authority, made unless it exists."""
    made = pair(folder, name)
    if not made.exists():
        _key(made.key)
        extensions = ["-addext", "basicConstraints=critical,CA:TRUE"]
        extensions += ["-addext", "keyUsage=critical,keyCertSign,digitalSignature"]
        _openssl("req", "-x509", "-new", "-key", made.key, "-out", made.certificate, "-days", _DAYS,
                 "-subj", f"/CN={name}", *extensions)  # fmt: skip
    return made


def issue(
    folder: Path, name: str, authority: Pair, user: str, groups: tuple[str, ...] = (), hosts: tuple[str, ...] = ()
) -> Pair:
    """A certificate for client and server use, made unless it exists.

    `user` and `groups` are what Kubernetes reads (common name, organisations); `hosts` are DNS names and addresses
    written as openssl wants them (`DNS:localhost`, `IP:127.0.0.1`).
    """
    made = pair(folder, name)
    if made.exists():
        return made
    _key(made.key)
    subject = "".join(f"/O={group}" for group in groups) + f"/CN={user}"
    lines = ["keyUsage=critical,digitalSignature", "extendedKeyUsage=clientAuth,serverAuth"]
    if hosts:
        lines.append("subjectAltName=" + ",".join(hosts))
    with tempfile.TemporaryDirectory() as scratch:
        request, extensions = Path(scratch) / "request", Path(scratch) / "extensions"
        extensions.write_text("\n".join(lines) + "\n")
        _openssl("req", "-new", "-key", made.key, "-out", request, "-subj", subject)
        _openssl("x509", "-req", "-in", request, "-CA", authority.certificate, "-CAkey", authority.key,
                 "-set_serial", f"0x{_serial()}", "-days", _DAYS, "-extfile", extensions,
                 "-out", made.certificate)  # fmt: skip
    return made


def make_signing_key(path: Path) -> Path:
    """The key that signs service account tokens, made unless it exists."""
    if not path.is_file():
        _key(path)
    return path


def _key(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    _openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", path)
    path.chmod(0o600)


def _serial() -> str:
    # Serial numbers of one authority must differ; 63 random bits are never negative in DER.
    return f"{secrets.randbits(63) | 1:x}"


def _openssl(*arguments: str | Path) -> None:
    if shutil.which("openssl") is None:
        raise ClusterError(
            "The openssl command makes the cluster's certificates, and there is none here. Install it "
            "(Debian: apt-get install openssl) and try again."
        )
    result = subprocess.run(["openssl", *map(str, arguments)], capture_output=True, text=True, check=False)
    if result.returncode:
        raise ClusterError(f"openssl {arguments[0]} failed: {result.stderr.strip()[-300:]}")
