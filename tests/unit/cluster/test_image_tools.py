"""What of a base image becomes ours, and what the bill of materials tells of an image."""

from __future__ import annotations

import io
import json
import runpy
import stat
import tarfile
from pathlib import Path
from typing import Any

import pytest
from hack.images.sbom import document
from tests.cluster.folders import HACK

SLIM: dict[str, Any] = runpy.run_path(str(HACK / "images" / "slim.py"))


@pytest.mark.parametrize(
    "path",
    [
        "usr/bin/python3",
        "usr/local/bin/python3.13",
        "usr/bin/sh",
        "usr/lib/python3.11/ssl.py",
        "usr/local/lib/python3.13/sqlite3/__init__.py",
        "usr/lib/x86_64-linux-gnu/libssl.so.3",
        "etc/ssl/certs/ca-certificates.crt",
        "etc/passwd",
        "usr/share/zoneinfo/Europe/Paris",
        "var/lib/dpkg/status",
        "bin",
        "lib64",
    ],
)
def test_what_python_needs_and_what_scanners_read_is_kept(path: str) -> None:
    assert SLIM["wanted"](path)


@pytest.mark.parametrize(
    "path",
    [
        "usr/bin/perl",
        "usr/bin/apt-get",
        "usr/bin/dpkg",
        "usr/bin/bash",
        "usr/bin/su",
        "usr/bin/tar",
        "usr/sbin/chroot",
        "usr/local/bin/pip3",
        "usr/local/bin/python3-config",
        "usr/lib/python3.11/ensurepip",
        "usr/local/lib/python3.13/site-packages/pip",
        "usr/share/perl",
        "usr/share/doc",
        "etc/resolv.conf",
        "root",
        "proc",
    ],
)
def test_package_managers_and_tools_stay_behind(path: str) -> None:
    assert not SLIM["wanted"](path)


def test_the_copy_keeps_links_and_modes_but_no_set_uid(tmp_path: Path) -> None:
    root, target = tmp_path / "base", tmp_path / "image"
    (root / "usr" / "bin").mkdir(parents=True)
    (root / "bin").symlink_to("usr/bin")
    program = root / "usr" / "bin" / "sh"
    program.write_text("#!")
    program.chmod(0o4755)
    (root / "usr" / "bin" / "perl").write_text("#!")
    target.mkdir()
    SLIM["copy"](root, target)
    assert sorted(str(path.relative_to(target)) for path in target.rglob("*")) == [
        "bin",
        "usr",
        "usr/bin",
        "usr/bin/sh",
    ]
    assert (target / "bin").is_symlink()
    assert stat.S_IMODE((target / "usr" / "bin" / "sh").stat().st_mode) == 0o755


STATUS = """\
Package: libssl3
Status: install ok installed
Architecture: amd64
Version: 3.0.22-1~deb12u1

Package: gone
Status: deinstall ok config-files
Architecture: amd64
Version: 1
"""


def image(path: Path, *layers: dict[str, str]) -> Path:
    """An archive as `docker save` writes it, with these files in its layers."""

    def add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
        member = tarfile.TarInfo(name)
        member.size = len(content)
        tar.addfile(member, io.BytesIO(content))

    with tarfile.open(path, "w") as archive:
        for number, files in enumerate(layers):
            packed = io.BytesIO()
            with tarfile.open(fileobj=packed, mode="w") as layer:
                for name, text in files.items():
                    add(layer, name, text.encode())
            add(archive, f"{number}.tar", packed.getvalue())
        labels = {"org.opencontainers.image.version": "0.1.0"}
        add(archive, "0a1b.json", json.dumps({"config": {"Labels": labels}}).encode())
        manifest = {"Config": "0a1b.json", "Layers": [f"{number}.tar" for number in range(len(layers))]}
        add(archive, "manifest.json", json.dumps([manifest]).encode())
    return path


def test_the_bill_of_materials_names_what_both_package_managers_installed(tmp_path: Path) -> None:
    base = {"var/lib/dpkg/status": STATUS, "usr/lib/os-release": 'ID=debian\nVERSION_ID="12"\n'}
    place = "opt/towline/lib/python3.11/site-packages"
    metadata = (
        "Metadata-Version: 2.4\nName: Pydantic_Core\nVersion: 2.41\nLicense-Expression: MIT\n\nName: not a field\n"
    )
    archive = image(tmp_path / "image.tar", base, {f"{place}/pydantic_core-2.41.dist-info/METADATA": metadata})
    found = document(archive)
    assert (found["bomFormat"], found["specVersion"]) == ("CycloneDX", "1.6")
    assert found["metadata"]["component"]["version"] == "0.1.0"
    assert [each["purl"] for each in found["components"]] == [
        "pkg:deb/debian/libssl3@3.0.22-1~deb12u1?arch=amd64&distro=debian-12",
        "pkg:pypi/pydantic-core@2.41",
    ]
    assert found["components"][1]["licenses"] == [{"expression": "MIT"}]
    assert found == document(archive), "the same image gives the same text"
