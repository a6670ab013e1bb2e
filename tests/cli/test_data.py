"""`towline data` on a destination that holds rows."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from towline.contract import SyncIdentity
from towline_connectors import entities
from towline_connectors.sinks import open_sink
from towline_connectors.sinks.base import Batch

if TYPE_CHECKING:
    from tests.cli.conftest import Towline

ASSETS: list[dict[str, Any]] = [
    {"source_key": "a1", "hostname": "web01", "ip": ["10.0.0.1", "10.0.0.2"], "is_managed": True},
    {"source_key": "a2", "hostname": "=cmd()", "ip": ["10.0.0.3"], "raw": b'{"id": "a2"}'},
    {"source_key": "a3", "hostname": "\x1b[31mred", "is_managed": False},
]


@pytest.fixture
def filled(tmp_path: Path) -> Path:
    file = tmp_path / "towline.db"
    sync = SyncIdentity(uid="u", name="s", namespace="default", attempt=1, created="2026-01-01T00:00:00Z")
    session = open_sink(str(file)).open("default/prod", "tenable-io", sync, "pod")
    try:
        columns = entities.get("asset").columns
        rows = [
            tuple(asset.get(column, 1 if column == "content_hash" else None) for column in columns) for asset in ASSETS
        ]
        session.commit(Batch(stream="assets", seq=1, rows={"asset": rows}, read=3))
        session.commit(Batch(stream="assets", seq=2, tombstones={"asset": ["a3"]}, read=1))
    finally:
        session.close()
    return file


def test_without_an_entity_it_counts_what_there_is(towline: Towline, filled: Path) -> None:
    counted = json.loads(towline("data", "-o", "json").stdout)
    assert counted == [{"entity": "asset", "integration": "default/prod", "rows": 2, "deleted": 1}]
    text = towline("data")
    assert text.stdout.splitlines()[1].split() == ["asset", "default/prod", "2", "1"]
    assert "open_vulnerabilities" in text.stderr


def test_rows_as_json_have_their_types(towline: Towline, filled: Path) -> None:
    rows = json.loads(towline("data", "asset", "-o", "json").stdout)
    web = next(row for row in rows if row["source_key"] == "a1")
    assert web["ip"] == ["10.0.0.1", "10.0.0.2"]
    assert web["is_managed"] is True
    other = next(row for row in rows if row["source_key"] == "a2")
    assert other["raw"] == {"id": "a2"}


def test_rows_are_chosen_by_value_and_column(towline: Towline, filled: Path) -> None:
    ended = towline("data", "asset", "--where", "ip=10.0.0.2", "--columns", "hostname,ip")
    assert ended.stdout.splitlines() == ["HOSTNAME   IP", "web01      10.0.0.1, 10.0.0.2"]


def test_csv_is_safe_to_open_in_a_spreadsheet(towline: Towline, filled: Path) -> None:
    ended = towline("data", "asset", "-o", "csv", "--columns", "source_key,hostname")
    rows = sorted(csv.reader(io.StringIO(ended.stdout)))
    assert rows == [["a1", "web01"], ["a2", "'=cmd()"], ["source_key", "hostname"]]


def test_deleted_rows_are_shown_on_request_and_cannot_steer_the_terminal(towline: Towline, filled: Path) -> None:
    assert "red" not in towline("data", "asset").stdout
    shown = towline("data", "asset", "--deleted").stdout
    assert "red" in shown
    assert "\x1b" not in shown


def test_a_limit_is_told(towline: Towline, filled: Path) -> None:
    ended = towline("data", "asset", "--limit", "1", "--deleted")
    assert len(ended.stdout.splitlines()) == 2
    assert "the first 1 rows; --limit 0 shows all" in ended.stderr
    assert len(towline("data", "asset", "--limit", "0", "--deleted").stdout.splitlines()) == 4


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["data", "asets"], "no entity, table or view asets"),
        (["data", "asset", "--where", "colour=red"], "has no column colour"),
        (["data", "asset", "--columns", "colour"], "has no column colour"),
        (["data", "asset", "--where", "hostname"], "--where takes COLUMN=VALUE"),
        (["data", "asset", "--where", "is_managed=perhaps"], "is_managed is true or false"),
        (["data", "--from", "nowhere.db"], "There is no file nowhere.db"),
        (["data", "--from", "mysql://host/db"], "mysql://"),
        (["data", "asset; DROP TABLE assets"], "no entity, table or view"),
    ],
)
def test_what_cannot_be_shown_is_refused_with_a_sentence(
    towline: Towline, filled: Path, arguments: list[str], sentence: str
) -> None:
    ended = towline(*arguments)
    assert ended.returncode == 1
    assert sentence in ended.stderr
    assert ended.stdout == ""
    assert "Traceback" not in ended.stderr


def test_before_the_first_sync_it_says_how_to_make_one(towline: Towline) -> None:
    ended = towline("data")
    assert ended.returncode == 1
    assert "towline run cisa-kev" in ended.stderr


def test_looking_never_changes_the_file(towline: Towline, filled: Path) -> None:
    before = filled.read_bytes()
    towline("data", "asset")
    assert filled.read_bytes() == before


def test_assets_are_linked_undone_and_told(towline: Towline, filled: Path, tmp_path: Path) -> None:
    told = towline("correlate", "--from", str(filled))
    assert told.returncode == 0
    assert "0 assets of several sources are 0 things" in told.stderr
    assert towline("correlate", "--from", str(filled), "--undo").returncode == 0
    assert "no asset with uid x" in towline("correlate", "--from", str(filled), "--apart", "x").stderr
    assert "There is no file" in towline("correlate", "--from", str(tmp_path / "none.db")).stderr
    assert not (tmp_path / "none.db").exists()
