"""Tables, migrations and views."""

from __future__ import annotations

import multiprocessing
import sqlite3
from collections.abc import Callable
from typing import Any

import psycopg
import pytest
from tests.unit.sinks.sinkdata import live, open_session, row, rows_of

from towline_connectors.entities import REGISTRY
from towline_connectors.sinks import query, schema, views
from towline_connectors.sinks.address import is_postgresql
from towline_connectors.sinks.base import Batch, SinkError


def run(target: str, sql: str) -> list[tuple[Any, ...]]:
    if is_postgresql(target):
        with psycopg.connect(target, autocommit=True) as db:
            cursor = db.execute(sql.encode())
            return cursor.fetchall() if cursor.description else []
    connection = sqlite3.connect(target, isolation_level=None)
    try:
        return connection.execute(sql).fetchall()
    finally:
        connection.close()


def test_people_can_write_every_name_without_quotes(target: str) -> None:
    open_session(target).close()
    for table in schema.tables():
        run(target, f"SELECT {', '.join(name for name, _ in table.columns)} FROM {table.name}")
    for view in views.all_views():
        run(target, f"SELECT * FROM {view.name}")


def test_a_column_that_an_entity_gained_is_added_and_rows_stay(target: str) -> None:
    session = open_session(target)
    session.commit(Batch("assets", 1, rows={"asset": [row("asset", "a", hostname="h")]}))
    session.close()
    for view in reversed(views.all_views()):
        run(target, f"DROP VIEW {view.name}")
    run(target, "ALTER TABLE assets DROP COLUMN serial")
    run(target, "DROP TABLE indicators" + (" CASCADE" if is_postgresql(target) else ""))
    run(target, "DELETE FROM towline_schema")
    session = open_session(target)
    session.commit(Batch("assets", 1, rows={"asset": [row("asset", "b", serial="s1")]}))
    serials = {one["source_key"]: one["serial"] for one in rows_of(target, "asset")}
    assert serials == {"a": None, "b": "s1"}
    assert rows_of(target, "indicator") == []
    assert query.rows(target, "live_assets").rows


def test_a_view_that_people_built_upon_does_not_stop_a_migration(target: str) -> None:
    open_session(target).close()
    run(target, "CREATE VIEW mine AS SELECT source_key FROM live_assets")
    run(target, "DELETE FROM towline_schema")
    open_session(target).commit(Batch("assets", 1, rows={"asset": [row("asset", "a")]}))
    assert run(target, "SELECT * FROM mine") == [("a",)]


def test_views_that_stand_on_one_another_are_made_anew_when_their_columns_moved(target: str) -> None:
    open_session(target).close()
    for view in reversed(views.all_views()):
        run(target, f"DROP VIEW {view.name}")
    run(
        target,
        "CREATE VIEW open_vulnerabilities AS SELECT 1 AS other, integration, asset_key FROM asset_vulnerabilities",
    )
    run(target, "CREATE VIEW open_vulnerabilities_by_asset AS SELECT other FROM open_vulnerabilities")
    run(target, "DELETE FROM towline_schema")
    open_session(target).close()
    for view in views.all_views():
        run(target, f"SELECT * FROM {view.name}")
    assert run(target, "SELECT total, hostname FROM open_vulnerabilities_by_asset") == []


def test_a_program_that_is_too_old_says_so(target: str) -> None:
    open_session(target).close()
    run(target, f"INSERT INTO towline_schema VALUES ('newer', {schema.FORMAT + 1}, '2026-11-01T10:00:00Z')")
    with pytest.raises(SinkError, match=r"written by a newer Towline .* upgrade this one") as refused:
        open_session(target)
    assert not refused.value.transient


def _open_and_write(target: str, number: int, start: Any) -> None:
    start.wait(60)
    session = open_session(target, uid=f"sync-{number}", integration=f"team/{number}")
    session.commit(Batch("assets", 1, rows={"asset": [row("asset", f"a{number}")]}))
    session.close()


def test_several_processes_may_make_the_tables_at_once(target: str) -> None:
    context = multiprocessing.get_context("spawn")
    start = context.Barrier(4)
    processes = [context.Process(target=_open_and_write, args=(target, number, start)) for number in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
    assert [process.exitcode for process in processes] == [0, 0, 0, 0]
    assert live(target, "asset") == {"a0", "a1", "a2", "a3"}


class TestViews:
    @pytest.fixture
    def write(self, target: str) -> Callable[..., None]:
        session = open_session(target)
        numbers = iter(range(1, 99))

        def write(**rows: list[tuple[Any, ...]]) -> None:
            session.commit(Batch("s", next(numbers), rows=rows))

        return write

    def test_open_vulnerabilities_are_those_that_wait_for_somebody(
        self, target: str, write: Callable[..., None]
    ) -> None:
        write(
            asset=[row("asset", "a1", hostname="web-1"), row("asset", "a2", name="db")],
            vulnerability=[
                row("vulnerability", "v1", title="Overflow", cve_uids=["CVE-2026-1"], severity_id=5, cvss_score=9.8)
            ],
            asset_vulnerability=[
                row("asset_vulnerability", "1", asset_key="a1", vulnerability_key="v1", status_id=1),
                row("asset_vulnerability", "2", asset_key="a2", vulnerability_key="v1", severity_id=3),
                row("asset_vulnerability", "3", asset_key="a1", vulnerability_key="v1", status_id=4),
                row("asset_vulnerability", "4", asset_key="a1", vulnerability_key="v1", status_id=3),
                row("asset_vulnerability", "5", asset_key="gone", vulnerability_key="v9", status_id=2),
            ],
        )
        found = run(
            target,
            "SELECT source_key, hostname, title, severity, status FROM open_vulnerabilities ORDER BY source_key",
        )
        assert found == [
            ("1", "web-1", "Overflow", "Critical", "New"),
            ("2", "db", "Overflow", "Medium", None),
            ("5", None, None, None, "In Progress"),
        ]

    def test_members_are_found_by_key_or_by_distinguished_name_whatever_its_case(
        self, target: str, write: Callable[..., None]
    ) -> None:
        write(
            user=[row("user", "u1", name="ada", dn="CN=Ada,DC=example"), row("user", "u2", name="bob")],
            group=[row("group", "g1", name="admins"), row("group", "g2", name="staff")],
            membership=[
                row("membership", "1", group_key="g1", member_dn="cn=ada,dc=EXAMPLE"),
                row("membership", "2", group_key="g2", member_key="u1"),
                row("membership", "3", group_key="g2", member_key="u2"),
                row("membership", "4", group_key="g2", member_dn="cn=nobody"),
            ],
        )
        found = run(target, "SELECT user_name, group_name FROM user_groups ORDER BY 1, 2")
        assert found == [("ada", "admins"), ("ada", "staff"), ("bob", "staff")]

    def test_live_views_hide_deleted_rows(self, target: str) -> None:
        session = open_session(target)
        session.commit(Batch("s", 1, rows={"asset": [row("asset", "a"), row("asset", "b")]}))
        session.commit(Batch("s", 2, tombstones={"asset": ["a"]}))
        assert run(target, "SELECT source_key FROM live_assets") == [("b",)]
        assert run(target, "SELECT integration, live, deleted FROM assets_by_source") == [("team/scanner", 1, 1)]


def test_every_entity_has_a_view_of_its_live_rows() -> None:
    names = {view.name for view in views.all_views()}
    assert {views.live_view(entity.table) for entity in REGISTRY.values()} <= names
