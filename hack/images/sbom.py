"""`make sbom`: what is in the image, as CycloneDX 1.6 on standard output.

Read from the image itself, not from what it was to be made of: the Debian packages that its package list names (of some
of which the image holds a part only) and the Python packages by their metadata. Same image, same text.
"""

from __future__ import annotations

import argparse
import email
import json
import sys
import tarfile
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any
from urllib.parse import quote

from tests.cluster.images import TOWLINE, build_archive
from tests.cluster.report import ClusterError, say

_STATUS = "var/lib/dpkg/status"
_RELEASE = "etc/os-release"


def document(archive: Path) -> dict[str, Any]:
    """The bill of materials of an image archive as `docker save` writes it."""
    with tarfile.open(archive) as image:
        (manifest,) = json.load(_member(image, "manifest.json"))
        configuration = json.load(_member(image, manifest["Config"]))
        files: dict[str, bytes] = {}
        for layer in manifest["Layers"]:
            with tarfile.open(fileobj=_member(image, layer)) as tar:
                files |= dict(_telling(tar))
    labels = configuration["config"].get("Labels") or {}
    debian = list(_debian(files.get(_STATUS, b"").decode(), files.get(_RELEASE, b"").decode()))
    python = [_python(text.decode()) for name, text in files.items() if name.endswith(".dist-info/METADATA")]
    components = sorted([*debian, *python], key=lambda each: str(each["purl"]))
    digest = Path(manifest["Config"]).stem
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_OID, digest)}",
        "version": 1,
        "metadata": {
            "component": {
                "type": "container",
                "bom-ref": f"sha256:{digest}",
                "name": "towline",
                "version": labels.get("org.opencontainers.image.version", ""),
                "hashes": [{"alg": "SHA-256", "content": digest}],
            }
        },
        "components": components,
        "dependencies": [{"ref": f"sha256:{digest}", "dependsOn": [each["bom-ref"] for each in components]}],
    }


def _telling(tar: tarfile.TarFile) -> Iterator[tuple[str, bytes]]:
    """The files that say what is installed."""
    for member in tar:
        name = member.name.removeprefix("./").lstrip("/")
        if member.isfile() and (name in {_STATUS, "usr/lib/os-release"} or name.endswith(".dist-info/METADATA")):
            yield _RELEASE if name == "usr/lib/os-release" else name, _member(tar, member).read()


def _member(tar: tarfile.TarFile, member: tarfile.TarInfo | str) -> IO[bytes]:
    found = tar.extractfile(member)
    assert found is not None
    return found


def _debian(status: str, release: str) -> Iterator[dict[str, Any]]:
    about = dict(line.split("=", 1) for line in release.splitlines() if "=" in line)
    distribution = f"debian-{about.get('VERSION_ID', '').strip(chr(34))}"
    for paragraph in status.strip().split("\n\n"):
        fields = email.message_from_string(paragraph)
        if "installed" not in str(fields["Status"]).split():
            continue
        name, version = str(fields["Package"]), str(fields["Version"])
        purl = f"pkg:deb/debian/{name}@{quote(version, safe='')}?arch={fields['Architecture']}&distro={distribution}"
        yield {"type": "library", "bom-ref": purl, "name": name, "version": version, "purl": purl}


def _python(metadata: str) -> dict[str, Any]:
    fields = email.message_from_string(metadata)
    name, version = str(fields["Name"]), str(fields["Version"])
    purl = f"pkg:pypi/{name.lower().replace('_', '-')}@{version}"
    found = {"type": "library", "bom-ref": purl, "name": name, "version": version, "purl": purl}
    if expression := fields["License-Expression"]:
        return found | {"licenses": [{"expression": str(expression)}]}
    return found


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m hack.images.sbom", description="The image's bill of materials.")
    parser.add_argument("archive", nargs="?", type=Path, help="an image as `docker save` writes it; else it is built")
    options = parser.parse_args()
    try:
        archive = options.archive or build_archive(TOWLINE)
    except ClusterError as error:
        say(f"✗ {error}")
        return 1
    json.dump(document(archive), sys.stdout, indent=1)
    print()
    return 0


if __name__ == "__main__":
    sys.exit(main())
