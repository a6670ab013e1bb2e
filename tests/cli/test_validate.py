"""`towline validate`: every problem names its file, its field and the cure."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.cli.conftest import Towline

GOOD = """\
apiVersion: towline.dev/v1alpha1
kind: Integration
metadata: {name: prod}
spec:
  connectorRef: {name: tenable-io}
  credentials: {secretRef: {name: api}}
  schedule: {interval: 1h}
"""
CONNECTOR = """\
apiVersion: towline.dev/v1alpha1
kind: Connector
metadata: {name: acme}
spec:
  title: Acme
  version: 1.0.0
  category: Other
  capabilities: [Pull]
  http: {baseURL: "https://api.acme.example"}
  streams:
  - name: hosts
    request: {path: /hosts}
    sync: {mode: Full}
    emit:
    - {entity: asset, key: "=id", fields: {hostname: "=name"}}
"""


def test_a_good_integration_passes_and_what_is_not_checked_is_said(towline: Towline) -> None:
    ended = towline("validate", "-f", "-", stdin=GOOD)
    assert ended.returncode == 0, ended.stderr
    assert "Integration prod is valid" in ended.stderr
    assert 'Secret "api" is not among the files' in ended.stderr
    assert "kubectl apply --dry-run=server" in ended.stderr


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("interval: 1h", "interval: 1 hour", 'spec.schedule.interval: "1 hour" is not a duration'),
        ("interval: 1h", "cron: every day", "spec.schedule.cron"),
        ("interval: 1h", "interval: 1h, cron: '@daily'", "spec.schedule: set exactly one of cron and interval"),
        ("  schedule:", "  shedule:", 'did you mean "schedule"?'),
        ("name: prod", "name: Prod", 'metadata.name: "Prod" is not a name for Kubernetes: use lower-case letters'),
        ("name: prod", f"name: {'a' * 41}", "metadata.name: the name must be at most 40 characters"),
        ("name: prod", "name: a.b", "metadata.name: the name must not contain dots"),
        ("spec:\n", "spec:\n  config: {url: x}\n", "config.url is not a setting of this connector"),
        ("spec:\n", "spec:\n  streams: [{name: asset}]\n", "did you mean assets?"),
        ("spec:\n", "spec:\n  streams: [{name: assets, filter: 'a.['}]\n", "filter of stream assets"),
    ],
)
def test_a_mistake_is_found_with_file_and_field(
    towline: Towline, tmp_path: Path, old: str, new: str, sentence: str
) -> None:
    assert old in GOOD
    (tmp_path / "prod.yaml").write_text(GOOD.replace(old, new))
    ended = towline("validate", "-f", "prod.yaml")
    assert ended.returncode == 1
    assert sentence in ended.stderr
    assert "prod.yaml" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_secret_among_the_files_is_checked_too(towline: Towline) -> None:
    secret = "---\napiVersion: v1\nkind: Secret\nmetadata: {name: api}\nstringData: {access_key: hunter2}\n"
    ended = towline("validate", "-f", "-", stdin=GOOD + secret)
    assert ended.returncode == 1
    assert "lacks the key secret_key" in ended.stderr
    assert "hunter2" not in ended.stderr


def test_a_connector_of_ones_own_is_compiled(towline: Towline) -> None:
    assert towline("validate", "-f", "-", stdin=CONNECTOR).returncode == 0
    for old, new, word in (
        ("=name", "=name[", "is not JMESPath"),
        ("entity: asset", "entity: aset", "aset"),
        ("hostname:", "hostnam:", "hostnam"),
        ("path: /hosts", "path: '/hosts/${secrets.x}'", "secrets"),
    ):
        ended = towline("validate", "-f", "-", stdin=CONNECTOR.replace(old, new))
        assert ended.returncode == 1, new
        assert word in ended.stderr, ended.stderr


def test_an_unknown_connector_is_a_note_since_the_cluster_may_have_it(towline: Towline) -> None:
    ended = towline("validate", "-f", "-", stdin=GOOD.replace("tenable-io", "acme"))
    assert ended.returncode == 0
    assert 'There is no connector "acme"' in ended.stderr
    assert "Its settings and streams were not checked." in ended.stderr


def test_json_is_for_programs(towline: Towline) -> None:
    ended = towline("validate", "-f", "-", "-o", "json", stdin=GOOD.replace("1h", "1x"))
    (finding,) = json.loads(ended.stdout)
    assert (finding["kind"], finding["name"], finding["valid"]) == ("Integration", "prod", False)
    assert "not a duration" in finding["problems"][0]


def test_other_kinds_are_counted_and_left_alone(towline: Towline) -> None:
    other = "---\napiVersion: apps/v1\nkind: Deployment\nmetadata: {name: x}\n"
    ended = towline("validate", "-f", "-", stdin=GOOD + other)
    assert ended.returncode == 0
    assert "1 other object not looked at: Deployment." in ended.stderr
