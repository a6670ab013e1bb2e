"""`make image-reproducible`: builds the image twice from nothing and compares it, layer by layer.

Neither takes anything from an earlier build but the base image.
"""

from __future__ import annotations

import json
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import IO

from tests.cluster import buildah
from tests.cluster.images import TOWLINE, identity, snapshot
from tests.cluster.report import ClusterError, say, step


def layers(archive: Path) -> list[str]:
    """The digests of an image's layers, and of its configuration."""
    with tarfile.open(archive) as tar:
        (manifest,) = json.load(_member(tar, "manifest.json"))
        configuration = json.load(_member(tar, manifest["Config"]))
        return [*configuration["rootfs"]["diff_ids"], f"configuration {Path(manifest['Config']).stem}"]


def _member(tar: tarfile.TarFile, name: str) -> IO[bytes]:
    found = tar.extractfile(name)
    assert found is not None
    return found


def main() -> int:
    found: list[list[str]] = []
    try:
        bases = {argument: buildah.ensure_base(packages) for argument, packages in TOWLINE.bases.items()}
        values = bases | identity(TOWLINE)
        with tempfile.TemporaryDirectory(prefix="towline-reproduce-") as scratch, snapshot(TOWLINE) as taken:
            for number in (1, 2):
                archive, reference = Path(scratch) / f"{number}.tar", f"localhost/towline:reproduced-{number}"
                with step(f"building the image, {number} of 2"):
                    buildah.build(taken.folder, values, reference, archive, anew=True)
                found.append(layers(archive))
                buildah.forget(reference)
    except ClusterError as error:
        say(f"✗ {error}")
        return 1
    for first, second in zip(*found, strict=True):
        print(f"{'✔ same' if first == second else '✗ differs'}  {first}{'' if first == second else ' / ' + second}")
    return 0 if found[0] == found[1] else 1


if __name__ == "__main__":
    sys.exit(main())
