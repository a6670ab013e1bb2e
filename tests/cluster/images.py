"""Builds images from Dockerfiles: by Docker where it answers, else by buildah on a local Debian base.

An image's tag is the hash of all that goes into it, so an unchanged image is neither built nor loaded again.
"""

import hashlib
import shutil
import subprocess
import tempfile
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.cluster import buildah, kind, node
from tests.cluster.choice import engine_answers
from tests.cluster.folders import CHECKOUT, HACK, cache_folder
from tests.cluster.locks import file_lock
from tests.cluster.record import Record
from tests.cluster.report import ClusterError, say, step

_KEPT_ARCHIVES = 3
_NO_PODS = "Cluster {name} is a control plane alone: it runs no pods and takes no images."


@dataclass(frozen=True)
class Image:
    """What an image is built from. `sources` are the files and folders of `context` that its Dockerfile copies.

    `bases` names, for each build argument that is a base image, the Debian packages of its local stand-in.
    """

    name: str
    dockerfile: Path
    context: Path
    sources: tuple[str, ...]
    bases: dict[str, tuple[str, ...]]


@dataclass(frozen=True)
class Snapshot:
    """An image's files as they were at one moment, and the names that follow from them."""

    image: Image
    folder: Path
    hash: str

    @property
    def reference(self) -> str:
        return f"localhost/{self.image.name}:{self.hash}"

    @property
    def archive(self) -> Path:
        return cache_folder() / "images" / f"{self.image.name}-{self.hash}.tar"


_PYTHON = ("python3", "ca-certificates")
TOWLINE = Image(
    "towline",
    CHECKOUT / "Dockerfile",
    CHECKOUT,
    (
        "requirements.lock",
        "hack/images/build.lock",
        "hack/images/slim.py",
        "pyproject.toml",
        "README.md",
        "operator",
        "connectors",
    ),
    {"BASE": _PYTHON, "BUILDER": (*_PYTHON, "python3-venv")},
)
SLAPD = Image(
    "towline-slapd", HACK / "images/slapd/Dockerfile", HACK / "images/slapd", (), {"BASE": ("slapd", "ldap-utils")}
)
POSTGRESQL = Image(
    "towline-postgresql",
    HACK / "images/postgresql/Dockerfile",
    HACK / "images/postgresql",
    ("start",),
    {"BASE": ("postgresql-15",)},
)
IMAGES = {"towline": TOWLINE, "slapd": SLAPD, "postgresql": POSTGRESQL}


@contextmanager
def snapshot(image: Image) -> Iterator[Snapshot]:
    """Copy what goes into `image`: a file that changes during the build then changes neither tag nor image."""
    with tempfile.TemporaryDirectory(prefix="towline-image-") as scratch:
        folder = Path(scratch) / "context"
        folder.mkdir()
        shutil.copy(image.dockerfile, folder / "Dockerfile")
        for path in _source_files(image):
            target = folder / path.relative_to(image.context)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, target)
        yield Snapshot(image, folder, content_hash(folder, image.bases))


def identity(image: Image) -> dict[str, str]:
    """Build arguments that tell an image which version and commit it is; empty for one that is not Towline's.

    A revision that ends in -dirty is a commit and changes that are in none.
    """
    if image.name != TOWLINE.name:
        return {}
    project = tomllib.loads((image.context / "pyproject.toml").read_text())["project"]
    command = ["git", "-C", str(image.context), "describe", "--always", "--abbrev=40", "--exclude=*", "--dirty"]
    try:
        revision = subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
    except OSError:  # no git here
        revision = ""
    return {"VERSION": project["version"], "REVISION": revision}


def content_hash(folder: Path, bases: dict[str, tuple[str, ...]]) -> str:
    """Twelve hex digits over every file in `folder` (name, executable or not, content) and the bases."""
    digest = hashlib.sha256(repr(sorted(bases.items())).encode())
    for path in sorted(file for file in folder.rglob("*") if file.is_file()):
        executable = bool(path.stat().st_mode & 0o100)
        digest.update(f"{path.relative_to(folder)}\0{executable}\0".encode())
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:12]


def build_image(image: Image, record: Record | None = None) -> str:
    """Build `image` unless it is built, put it into the cluster `record` when there is one; its reference."""
    lock = file_lock(cache_folder() / "images" / f"{image.name}.lock", f"building the image {image.name}")
    with lock, snapshot(image) as taken:
        by_engine = record.provider == "kind" if record else _engine_answers()
        if by_engine:
            _ensure_in_engine(taken)
        else:
            _ensure_archive(taken)
        if record is not None:
            _ensure_in_cluster(record, taken)
        return taken.reference


def build_archive(image: Image) -> Path:
    """Build `image` by buildah unless it is built; its archive, as `docker load` reads it."""
    lock = file_lock(cache_folder() / "images" / f"{image.name}.lock", f"building the image {image.name}")
    with lock, snapshot(image) as taken:
        _ensure_archive(taken)
        return taken.archive


def _ensure_in_cluster(record: Record, taken: Snapshot) -> None:
    if record.provider == "node":
        if not node.has_image(record, taken.reference):
            with step(f"loading {taken.reference} into {record.name}"):
                node.import_image(record, taken.archive)
    elif record.provider == "kind":
        with step(f"loading {taken.reference} into {record.name}"):
            kind.load_image(record, taken.reference)
    else:
        raise ClusterError(_NO_PODS.format(name=record.name))


def load_archive(record: Record, archive: Path) -> None:
    """Put an image archive as `docker save` writes it into the cluster."""
    with step(f"loading {archive.name} into {record.name}"):
        if record.provider == "kind":
            kind.load_archive(record, archive)
        elif record.provider == "node":
            node.import_image(record, archive.resolve())
        else:
            raise ClusterError(_NO_PODS.format(name=record.name))


def _source_files(image: Image) -> list[Path]:
    files: list[Path] = []
    for source in image.sources:
        path = image.context / source
        found = [path] if path.is_file() else path.rglob("*")
        files += [
            file for file in found if file.is_file() and "__pycache__" not in file.parts and file.suffix != ".pyc"
        ]
    return sorted(files)


def _engine_answers() -> bool:
    return engine_answers("docker") or engine_answers("podman")


def _ensure_in_engine(taken: Snapshot) -> None:
    engine, name = kind.container_engine(), taken.image.name
    if _run(engine, "image", "inspect", taken.reference) is None:
        return
    with step(f"{engine} build {name}"):
        named = [f"--build-arg={name}={value}" for name, value in identity(taken.image).items()]
        failure = _run(engine, "build", *named, "--tag", taken.reference, str(taken.folder))
        if failure is None:
            return
        if not buildah.is_possible():
            raise ClusterError(f"{engine} could not build {name}: {failure}")
        say(f"    {failure.splitlines()[-1][:200]}")
        say(f"    {engine} cannot build it here: building on a local Debian base by buildah instead")
        _ensure_archive(taken)
        if failure := _run(engine, "load", "--input", str(taken.archive)):
            raise ClusterError(f"{engine} could not load {taken.archive}: {failure}")


def _ensure_archive(taken: Snapshot) -> None:
    image = taken.image
    if taken.archive.exists():
        return
    bases = {argument: buildah.ensure_base(packages) for argument, packages in image.bases.items()}
    with step(f"building the image {image.name}"):
        buildah.build(taken.folder, bases | identity(image), taken.reference, taken.archive)
    archives = taken.archive.parent.glob(f"{image.name}-{'?' * len(taken.hash)}.tar")
    for old in sorted(archives, key=lambda file: file.stat().st_mtime)[:-_KEPT_ARCHIVES]:
        old.unlink()
        buildah.forget(f"localhost/{image.name}:{old.stem.removeprefix(image.name + '-')}")


def _run(*command: str) -> str | None:
    """None when `command` worked, else the end of what it said."""
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    return (result.stderr.strip() or "it gave no reason")[-1500:] if result.returncode else None
