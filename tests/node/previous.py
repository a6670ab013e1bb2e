"""The release before this one, made from the repository's own history: its chart, and its image in the cluster."""

from __future__ import annotations

import io
import subprocess
import tarfile
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from hack.chart import CHECKOUT
from hack.demo.target import Target
from tests.cluster.images import TOWLINE, build_image

# What stands for the previous release as long as none has been tagged.
BEFORE_THE_FIRST = "370b732"


@dataclass(frozen=True)
class Release:
    chart: Path
    image: str
    values: tuple[str, ...] = ()


def previous_release(target: Target, folder: Path) -> Release:
    """Chart and image of the newest tagged release before this commit; skips where the history does not reach it."""
    if target.record is None:
        pytest.skip("the previous release's image can be built only for a cluster of Towline's own tools")
    chart = previous_chart(folder, ".")
    image = replace(TOWLINE, dockerfile=folder / "Dockerfile", context=folder)
    return Release(chart, build_image(image, target.record))


def previous_chart(folder: Path, content: str = "charts") -> Path:
    """The chart of the release before this commit, in `folder`; skips where the history does not reach it.

    `content`: the part of that release's checkout which is put there.
    """
    revision = _git("describe", "--tags", "--match=v*", "--abbrev=0", "HEAD^").decode().strip() or BEFORE_THE_FIRST
    files = _git("archive", "--format=tar", revision, content)
    if not files:
        pytest.skip(f"the history of this checkout does not reach {revision}; a full clone has it")
    with tarfile.open(fileobj=io.BytesIO(files)) as archive:
        archive.extractall(folder, filter="data")
    return folder / "charts" / "towline"


def _git(*arguments: str) -> bytes:
    """What git prints; nothing when it fails or there is no history."""
    try:
        return subprocess.run(["git", "-C", str(CHECKOUT), *arguments], capture_output=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return b""
