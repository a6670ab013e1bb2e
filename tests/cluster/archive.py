"""Writes an image of one static program as a `docker load` archive, without any image tool."""

import hashlib
import io
import json
import platform
import tarfile
from pathlib import Path


def write_program_image(archive: Path, reference: str, program: Path, entrypoint: str) -> None:
    """An image with `program` at the path `entrypoint` and nothing else, written to `archive`.

    Times and owners are fixed, so the same program gives the same bytes.
    """
    archive.parent.mkdir(parents=True, exist_ok=True)
    layer = archive.with_suffix(".layer")
    unfinished = archive.with_suffix(".new")
    try:
        with tarfile.open(layer, "w", format=tarfile.PAX_FORMAT) as tar:
            entry = tarfile.TarInfo(entrypoint.lstrip("/"))
            entry.size, entry.mode = program.stat().st_size, 0o755
            with program.open("rb") as content:
                tar.addfile(entry, content)
        with layer.open("rb") as content:
            digest = hashlib.file_digest(content, "sha256").hexdigest()
        config = json.dumps(
            {
                "architecture": _architecture(),
                "os": "linux",
                "config": {"Entrypoint": [entrypoint], "Env": ["PATH=/"]},
                "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}"]},
                "history": [{"created_by": "towline"}],
            },
            sort_keys=True,
        ).encode()
        config_name = f"{hashlib.sha256(config).hexdigest()}.json"
        manifest = [{"Config": config_name, "RepoTags": [reference], "Layers": ["layer.tar"]}]
        with tarfile.open(unfinished, "w") as tar:
            _add(tar, config_name, config)
            _add(tar, "manifest.json", json.dumps(manifest).encode())
            tar.add(layer, "layer.tar", filter=_anonymous)
        unfinished.replace(archive)
    finally:
        layer.unlink(missing_ok=True)
        unfinished.unlink(missing_ok=True)


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    tar.addfile(entry, io.BytesIO(content))


def _anonymous(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.uid = entry.gid = entry.mtime = 0
    entry.uname = entry.gname = ""
    return entry


def _architecture() -> str:
    machine = platform.machine()
    return {"x86_64": "amd64", "aarch64": "arm64"}.get(machine, machine)
