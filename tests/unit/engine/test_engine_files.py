"""Reports as a source: nothing outside the volume is read in a pod, and the checkpoint tells reports apart."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from towline.api.connector import ConnectorSpec
from towline_connectors.engine.errors import ConfigInvalid
from towline_connectors.engine.files import FileSource, seen, written
from towline_connectors.engine.functions import nested
from towline_connectors.engine.source import Setup

SPEC = ConnectorSpec.model_validate(
    {
        "title": "Scanner",
        "version": "1.0.0",
        "category": "Vulnerability",
        "capabilities": ["Pull"],
        "files": {"path": "${config.path}"},
        "streams": [
            {"name": "reports", "file": {}, "sync": {"mode": "Full"}, "emit": [{"entity": "asset", "key": "=id"}]}
        ],
    }
)


def source(path: str, root: Path | None) -> FileSource:
    setup = Setup(
        spec=SPEC,
        text=lambda template: template.replace("${config.path}", path),
        value=lambda value: value,
        allowed_hosts=(),
        files_root=str(root) if root else None,
    )
    assert SPEC.files is not None
    return FileSource(setup, SPEC.files, {})


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    (tmp_path / "secret.json").write_text('{"password": "hunter2"}')
    root = tmp_path / "reports"
    (root / "images").mkdir(parents=True)
    (root / "images/a.json").write_text("{}")
    (root / "..data").mkdir()
    (root / "..data/a.json").write_text("{}")
    (root / "link.json").symlink_to(tmp_path / "secret.json")
    (root / "out").symlink_to(tmp_path)
    return root


@pytest.mark.parametrize("path", ["../secret.json", "..", "out", "out/secret.json", "link.json", "/etc/passwd", "/etc"])
def test_in_a_pod_nothing_outside_the_volume_is_read(volume: Path, path: str) -> None:
    with pytest.raises(ConfigInvalid, match="in the volume with the reports"):
        asyncio.run(source(path, volume).check())


@pytest.mark.parametrize("path", ["", "images", "images/*.json", "*/*.json", "images/a.json"])
def test_links_out_of_the_volume_and_hidden_folders_are_passed_over(volume: Path, path: str) -> None:
    assert [report.path for report in source(path, volume)._list("**/*.json*")] == [volume / "images/a.json"]


def test_a_volume_that_is_not_mounted_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigInvalid, match="there is no folder in the volume"):
        asyncio.run(source("", tmp_path / "nothing").check())


def test_a_checkpoint_keeps_a_digest_of_each_report() -> None:
    digests = {b"name-1": b"text-1", b"name-2": b"text-2"}
    assert written(digests).startswith("2 reports ")
    assert seen(written(digests)) == digests
    assert seen("2026-01-01T00:00:00.000Z") == seen("") == {}


def test_nested_items_come_with_what_they_lie_in() -> None:
    report = {"results": [{"target": "a", "found": [{"id": 1}, None]}, {"target": "b", "found": None}, None]}
    first = {"target": "a", "found": [{"id": 1}, None]}
    assert nested(report, "results", "found") == [{"results": first, "found": {"id": 1}}]
    assert nested(report, "nothing", "found") is None
    assert nested(None, "results") is None
