"""Looking at a destination from the command line."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.unit.sinks.sinkdata import open_session, row

from towline_connectors.sinks import describe, open_sink, query
from towline_connectors.sinks.address import sqlite_path
from towline_connectors.sinks.base import Batch, SinkError


@pytest.fixture
def filled(target: str) -> str:
    session = open_session(target)
    rows = [
        row("asset", "a", hostname="web", type_id=1, ip=["10.0.0.1", "10.0.0.2"], is_managed=True, risk_score=2.5),
        row("asset", "b", hostname="db", type_id=0, is_managed=False),
        row("asset", "c", hostname="old"),
    ]
    session.commit(Batch("assets", 1, rows={"asset": rows}))
    session.commit(Batch("assets", 2, tombstones={"asset": ["c"]}))
    session.close()
    return target


@pytest.mark.parametrize(
    ("where", "keys"),
    [
        ([], ["a", "b"]),
        ([("hostname", "web")], ["a"]),
        ([("type_id", "server")], ["a"]),
        ([("type_id", "Unknown")], ["b"]),
        ([("type_id", "1")], ["a"]),
        ([("is_managed", "false")], ["b"]),
        ([("ip", "10.0.0.2")], ["a"]),
        ([("risk_score", "2.5"), ("hostname", "web")], ["a"]),
        ([("hostname", "web"), ("is_managed", "false")], []),
        ([("hostname", "' OR 1=1 --")], []),
    ],
)
def test_rows_are_chosen_by_values_of_any_type(filled: str, where: list[tuple[str, str]], keys: list[str]) -> None:
    found = query.rows(filled, "asset", where)
    assert sorted(one[found.columns.index("source_key")] for one in found.rows) == keys


def test_deleted_rows_are_shown_on_request_and_the_limit_holds(filled: str) -> None:
    assert len(query.rows(filled, "assets", with_deleted=True).rows) == 3
    assert len(query.rows(filled, "assets", limit=1).rows) == 1
    assert query.rows(filled, "assets", limit=-1).rows == []


def test_tables_are_counted_by_integration(filled: str) -> None:
    assert query.tables(filled) == [query.Count("asset", "assets", "team/scanner", 2, 1)]


@pytest.mark.parametrize(
    ("name", "where", "words"),
    [
        ("assets; DROP TABLE assets", [], "There is no entity, table or view assets; DROP TABLE assets"),
        ("asset", [("hostnam", "1")], r"has no column hostnam; did you mean hostname\?"),
        ("asset", [("nope", "1")], "asset has no column nope; it has integration, source_key"),
        ("asset", [('hostname" = "x', "1")], "asset has no column"),
        ("asset", [("type_id", "toaster")], "takes a number or one of Unknown, Server"),
        ("asset", [("is_managed", "maybe")], "is true or false"),
    ],
)
def test_what_does_not_exist_is_refused_with_what_does(
    filled: str, name: str, where: list[tuple[str, str]], words: str
) -> None:
    with pytest.raises(query.QueryError, match=words):
        query.rows(filled, name, where)


def test_looking_changes_nothing_and_needs_a_destination(target: str, tmp_path: Path) -> None:
    missing = str(tmp_path / "missing.db")
    with pytest.raises(
        SinkError, match=rf"{tmp_path} is a folder; name the SQLite file in it, or a lake as parquet:///"
    ):
        query.tables(str(tmp_path))
    with pytest.raises(SinkError, match=r"There is no file .*missing\.db; sync first"):
        query.tables(missing)
    assert not Path(missing).exists()
    if target.startswith("postgresql"):
        with pytest.raises(SinkError, match="has no tables of Towline; sync to it first"):
            query.tables(target)
    empty = tmp_path / "empty.db"
    empty.touch()
    with pytest.raises(SinkError, match="has no tables of Towline; sync to it first"):
        query.rows(str(empty), "asset")


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("towline.db", "towline.db"),
        ("sqlite:///data/t.db", "data/t.db"),
        ("sqlite:////data/t.db", "/data/t.db"),
        ("postgresql://me:s3cret@db:5433/towline?sslmode=require", "postgresql://me@db:5433/towline"),
        ("postgres://:s3cret@db/towline", "postgresql://db/towline"),
        ("postgresql://me:s3cret@db:x/towline", "The PostgreSQL database"),
    ],
)
def test_an_address_is_shown_without_its_password(address: str, shown: str) -> None:
    assert describe(address) == shown


@pytest.mark.parametrize("address", ["mysql://me:s3cret@db/x", "sqlite://x", "sqlite:///", ""])
def test_an_unknown_address_is_refused_without_repeating_it(address: str) -> None:
    with pytest.raises(SinkError, match="name a file") as refused:
        open_sink(address)
    assert "s3cret" not in str(refused.value)
    assert not refused.value.transient


def test_a_plain_path_stays_a_path() -> None:
    assert sqlite_path("./a:b/t.db") == "./a:b/t.db"


def test_nothing_is_left_beside_a_file_that_was_read(tmp_path: Path) -> None:
    file = tmp_path / "towline.db"
    open_session(str(file)).close()
    before = file.read_bytes()
    assert query.rows(str(file), "asset").rows == []
    assert query.tables(str(file)) == []
    assert [each.name for each in tmp_path.iterdir()] == ["towline.db"]
    assert file.read_bytes() == before


@pytest.mark.parametrize("may_write", [True, False])
def test_a_file_is_read_while_a_sync_writes_it_and_afterwards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, may_write: bool
) -> None:
    monkeypatch.setattr(query.os, "access", lambda path, mode: may_write)
    file = tmp_path / "towline.db"
    session = open_session(str(file))
    for number, key in enumerate("ab", 1):
        session.commit(Batch("assets", number, rows={"asset": [row("asset", key)]}))
        assert len(query.rows(str(file), "asset").rows) == number
    session.close()
    assert len(query.rows(str(file), "asset").rows) == 2
    assert [each.name for each in tmp_path.iterdir()] == ["towline.db"]


def test_a_file_where_nobody_may_write_is_read(tmp_path: Path) -> None:
    """A copy on a volume that is mounted for reading, or of somebody else."""
    file = tmp_path / "towline.db"
    open_session(str(file)).close()
    file.chmod(0o444)
    tmp_path.chmod(0o555)
    code = f"from towline_connectors.sinks import query; print(query.rows({str(file)!r}, 'asset').rows)"
    # Of root's rights that to write everywhere has to go; what root could do without it, anybody can.
    plain = ["setpriv", "--bounding-set=-dac_override"] if os.getuid() == 0 else []
    try:
        opened = subprocess.run(
            [*plain, sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60
        )
    finally:
        tmp_path.chmod(0o755)
    assert opened.stdout == "[]\n", opened.stderr
