"""Which Towline is this? The image says from which commit it was made."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner
from prometheus_client import generate_latest

from towline.cli.version import version
from towline.metrics import Metrics

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def test_version_and_metrics_tell_the_commit_of_the_image(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOWLINE_REVISION", COMMIT)
    assert f"commit {COMMIT[:12]})" in CliRunner().invoke(version).stdout
    assert json.loads(CliRunner().invoke(version, ["-o", "json"]).stdout)["revision"] == COMMIT
    metrics = generate_latest(Metrics(lambda: (), "1.2.3").registry).decode()
    assert f'revision="{COMMIT}",version="1.2.3"' in metrics


def test_without_an_image_there_is_no_commit_to_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TOWLINE_REVISION", raising=False)
    assert "commit" not in CliRunner().invoke(version).stdout
    assert "revision" not in json.loads(CliRunner().invoke(version, ["-o", "json"]).stdout)
