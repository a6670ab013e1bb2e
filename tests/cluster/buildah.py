"""Builds images where there is neither Docker nor a registry: buildah, on a base made of Debian packages.

The build steps reach the package index as this machine does: its pip configuration and its certificates are mounted
while a step runs, and nothing of them stays in an image.
"""

import hashlib
import os
import shutil
import ssl
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.cluster.folders import cache_folder
from tests.cluster.locks import file_lock
from tests.cluster.nodeconfig import filesystem_type
from tests.cluster.packages import IMAGE_TOOLS, ensure_packages
from tests.cluster.report import ClusterError, step

SUITE = "bookworm"
_UNUSED = ("/usr/share/man/*", "/usr/share/locale/*", "/usr/share/doc/*", "/usr/share/info/*")
_MOUNT = "/run/towline-build"
# What of pip's configuration tells how to reach the index; the rest is about installing on this machine.
_PIP_KEYS = ("index-url", "extra-index-url", "trusted-host", "proxy", "timeout", "default-timeout", "retries")


def is_possible() -> bool:
    """Whether this machine can build this way: root, and Debian's packages or the tools themselves."""
    if os.geteuid() != 0:
        return False
    return shutil.which("apt-get") is not None or all(shutil.which(tool) for tool in IMAGE_TOOLS)


def ensure_base(packages: tuple[str, ...]) -> str:
    """The reference of a local base image: Debian's essential packages and `packages`."""
    if not is_possible():
        raise ClusterError("Building an image needs Docker or Podman, or root on Debian. Start Docker, or run as root.")
    ensure_packages(IMAGE_TOOLS)
    recipe = hashlib.sha256(repr((SUITE, packages, _UNUSED)).encode()).hexdigest()[:12]
    reference = f"localhost/towline-base:{recipe}"
    with file_lock(cache_folder() / "images" / "base.lock", "making a base image"):
        if _buildah("inspect", "--type=image", reference, quiet=True) is None:
            _make_base(packages, recipe, reference)
    return reference


def build(context: Path, values: dict[str, str], reference: str, archive: Path, *, anew: bool = False) -> None:
    """Build the Dockerfile in `context` and write the image to `archive`, as `docker load` reads it.

    `values` are its build arguments. Every file and the image itself get one time, so that the same sources make the
    same image: SOURCE_DATE_EPOCH, or 0. `anew` takes nothing from earlier builds.
    """
    with tempfile.TemporaryDirectory(prefix="towline-build-") as scratch:
        arguments = [f"--build-arg={name}={value}" for name, value in values.items()]
        arguments += [f"--timestamp={os.environ.get('SOURCE_DATE_EPOCH') or 0}", *(["--no-cache"] if anew else [])]
        _write_pip_configuration(Path(scratch))
        arguments += [f"--build-arg=PIP_CONFIG_FILE={_MOUNT}/pip.conf", f"--volume={scratch}:{_MOUNT}:ro"]
        with _alone_in_store():
            _buildah("build", "--layers", "--pull-never", "--quiet", *arguments, f"--tag={reference}",
                     str(context))  # fmt: skip
    archive.parent.mkdir(parents=True, exist_ok=True)
    unfinished = archive.with_suffix(".new")
    unfinished.unlink(missing_ok=True)
    _buildah("push", "--quiet", reference, f"docker-archive:{unfinished}:{reference}")
    unfinished.replace(archive)


def forget(reference: str) -> None:
    """Remove an image from the local store; one that is not there is no error."""
    _buildah("rmi", reference, quiet=True)


def pip_settings(listing: str) -> dict[str, str]:
    """Of what `pip config list` prints, how the package index is reached; the environment wins, as in pip."""
    settings: dict[str, str] = {}
    for prefix in ("global.", "install.", ":env:."):
        for line in listing.splitlines():
            key, _, value = line.partition("=")
            name = key.removeprefix(prefix)
            if key.startswith(prefix) and name in _PIP_KEYS:
                settings[name.removeprefix("default-")] = value.strip().strip("'\"")
    return settings


def _make_base(packages: tuple[str, ...], recipe: str, reference: str) -> None:
    with step(f"making a Debian base image with {', '.join(packages)}"), tempfile.TemporaryDirectory() as scratch:
        tar = Path(scratch) / "base.tar"
        command = ["mmdebstrap", "--variant=essential", f"--include={','.join(packages)}"]
        command += [f"--dpkgopt=path-exclude={path}" for path in _UNUSED]
        log = cache_folder() / "images" / f"base-{recipe}.log"
        with log.open("wb") as output:
            result = subprocess.run([*command, SUITE, str(tar)], stdout=output, stderr=subprocess.STDOUT, check=False)
        if result.returncode:
            raise ClusterError(f"mmdebstrap could not make a base image; its log is {log}.")
        log.unlink()
        (Path(scratch) / "Dockerfile").write_text(
            "FROM scratch\nADD base.tar /\nENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\n"
        )
        with _alone_in_store():
            _buildah("build", "--quiet", f"--tag={reference}", scratch)


def _write_pip_configuration(folder: Path) -> None:
    listing = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=False
    ).stdout
    lines = ["[global]", *(f"{name} = {value}" for name, value in pip_settings(listing).items())]
    bundle = ssl.get_default_verify_paths().cafile
    for candidate in (os.environ.get("PIP_CERT"), os.environ.get("SSL_CERT_FILE"), bundle):
        if candidate and Path(candidate).is_file():
            shutil.copyfile(candidate, folder / "certificates.pem")
            lines.append(f"cert = {_MOUNT}/certificates.pem")
            break
    (folder / "pip.conf").write_text("\n".join(lines) + "\n")


@contextmanager
def _alone_in_store() -> Iterator[None]:
    """One build at a time; what a killed one left mounted goes first."""
    with file_lock(cache_folder() / "images" / "build.lock", "building another image"):
        _buildah("rm", "--all", quiet=True)
        yield


def _buildah(*arguments: str, quiet: bool = False) -> str | None:
    """Run buildah in a store of our own; None when it failed and `quiet` is on, else ClusterError."""
    store = cache_folder() / "containers"
    store.mkdir(parents=True, exist_ok=True)
    on_overlay = filesystem_type(store, Path("/proc/self/mounts").read_text()) == "overlay"
    command = ["buildah", f"--root={store / 'storage'}", f"--runroot={store / 'run'}",
               f"--storage-driver={'vfs' if on_overlay else 'overlay'}", *arguments]  # fmt: skip
    # chroot: no runtime and no cgroups are needed for a build step.
    environment = {**os.environ, "BUILDAH_ISOLATION": "chroot"}
    result = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if result.returncode == 0:
        return result.stdout
    if quiet:
        return None
    raise ClusterError(f"buildah {arguments[0]} failed: {(result.stdout + result.stderr).strip()[-2000:]}")
