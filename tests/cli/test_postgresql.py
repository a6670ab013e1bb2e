"""`towline run` into a real PostgreSQL, and `towline data` out of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from tests.postgres import Postgresql, postgresql

if TYPE_CHECKING:
    from tests.cli.conftest import Towline

__all__ = ["postgresql"]  # the fixture: a server that stops with the tests


def test_rows_go_into_postgresql_and_come_out_with_their_types(
    towline: Towline, simulator: Callable[..., Path], postgresql: Postgresql
) -> None:
    target = postgresql.new_database()
    file = simulator("cisa-kev", "--set", "vulnerabilities=12")
    ended = towline("run", "-f", str(file), "--to", target)
    assert ended.returncode == 0, ended.stderr
    address = urlsplit(target)
    shown_target = f"postgresql://{address.username}@{address.hostname}:{address.port}{address.path}"
    assert f"towline data vulnerability --from {shown_target}   (with the password in $PGPASSWORD)" in ended.stderr
    rows = json.loads(towline("data", "vulnerability", "-o", "json", TOWLINE_TO=target).stdout)
    assert len(rows) == 12
    assert all(row["is_known_exploited"] is True and isinstance(row["cve_uids"], list) for row in rows)
    assert all(isinstance(row["raw"], dict) for row in rows)
    shown = towline("data", "vulnerability", "--limit", "1", "--from", target)
    assert len(shown.stdout.splitlines()) == 2


def test_a_password_is_never_shown(towline: Towline, postgresql: Postgresql) -> None:
    address = urlsplit(postgresql.new_database())
    target = f"postgresql://nobody:hunter2@{address.hostname}:{address.port}/nowhere"
    for arguments in (["run", "cisa-kev", "--to", target], ["data", "--from", target]):
        ended = towline(*arguments)
        assert ended.returncode != 0
        assert "postgresql://nobody@" in ended.stderr
        assert "hunter2" not in ended.stderr + ended.stdout
