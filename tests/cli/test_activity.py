"""`towline activity`: the record of what happened, as people ask for it and as they export it."""

from __future__ import annotations

import csv
import getpass
import io
import json
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.cli.conftest import Towline


def test_two_runs_leave_two_records_that_can_be_asked_for_and_exported(
    towline: Towline, simulator: Callable[..., Path], tmp_path: Path
) -> None:
    file = simulator("cisa-kev", "--set", "vulnerabilities=30")
    for _ in range(2):
        assert towline("run", "-f", str(file)).returncode == 0
    exported = towline("activity", "-o", "jsonl")
    assert exported.returncode == 0, exported.stderr
    records = [json.loads(line) for line in exported.stdout.splitlines()]
    assert [record["kind"] for record in records] == ["Run", "Run"]
    assert records[0]["time"] > records[1]["time"]
    first = records[1]
    assert (first["actor"], first["trigger"], first["outcome"]) == (getpass.getuser(), "Manual", "Completed")
    assert first["records"] == 30
    assert first["calls"] >= 1
    assert first["bytes"] > 30 * 100
    assert first["correlation"].endswith("/1")
    assert first["keep_until"] > first["time"]

    table = towline("activity", first["integration"].partition("/")[2]).stdout.splitlines()
    assert table[0].startswith("TIME (UTC)")
    assert table[0].split()[2:] == ["KIND", "WHAT", "BY", "OUTCOME", "RECORDS", "CALLS", "BYTES", "MESSAGE"]
    assert len(table) == 3
    assert json.loads(towline("activity", "--since", "1h", "--kind", "run", "--limit", "1", "-o", "json").stdout)
    rows = list(csv.DictReader(io.StringIO(towline("activity", "-o", "csv").stdout)))
    assert [row["outcome"] for row in rows] == ["Completed", "Completed"]
    for arguments in (["other"], ["--kind", "Change"], ["--outcome", "Unreachable"], ["--by", "nobody-of-that-name"]):
        ended = towline("activity", *arguments)
        assert (ended.returncode, ended.stdout) == (0, "")
        assert "no such record" in ended.stderr
    db = sqlite3.connect(tmp_path / "towline.db")
    try:
        assert db.execute("SELECT count(*) FROM towline_activity").fetchone() == (2,)
    finally:
        db.close()


def test_a_failed_run_is_recorded_with_its_reason(towline: Towline, simulator: Callable[..., Path]) -> None:
    file = simulator("tenable-io")
    text = file.read_text()
    wrong = file.with_name("wrong.yaml")
    wrong.write_text(text.replace("secret_key: ", "secret_key: wrong-"))
    assert towline("run", "-f", str(wrong)).returncode == 77
    (record,) = json.loads(towline("activity", "--outcome", "CredentialsRejected", "-o", "json").stdout)
    assert record["kind"] == "Run"
    assert record["records"] == 0


def test_without_a_destination_it_is_said_where_to_look(towline: Towline) -> None:
    ended = towline("activity")
    assert ended.returncode == 1
    assert "There is no file ./towline.db" in ended.stderr
    assert "--cluster" in ended.stderr


def test_a_wrong_duration_is_a_sentence(towline: Towline) -> None:
    ended = towline("activity", "--since", "yesterday")
    assert ended.returncode == 1
    assert "--since" in ended.stderr
