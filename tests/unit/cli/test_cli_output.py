"""Tables, JSON and CSV on the terminal."""

from __future__ import annotations

import csv
import io
import json

import pytest

from towline.cli.output import _lines, duration, print_json, print_rows, table


def test_columns_line_up_also_with_wide_characters() -> None:
    lines = table(["name", "city"], [["a", "Zürich"], ["東京", "b"]]).splitlines()
    assert lines == ["NAME   CITY", "a      Zürich", "東京   b"]


def test_a_table_is_cut_to_the_terminal_and_keeps_its_headers() -> None:
    lines = table(["name", "message"], [["short", "x" * 200]], width=40).splitlines()
    assert max(map(len, lines)) == 40
    assert lines[1].endswith("…")
    assert lines[0] == "NAME    MESSAGE"


def test_data_cannot_steer_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    evil = "\x1b]0;owned\x07\x9b31m"
    assert "\x1b" not in table(["name"], [[evil]])
    assert "\x9b" not in table(["name"], [[evil]])
    print_json({"name": evil})
    text = capsys.readouterr().out
    assert not {"\x1b", "\x9b", "\x07"} & set(text)
    assert json.loads(text) == {"name": evil}


def test_csv_cells_never_become_formulas(capsys: pytest.CaptureFixture[str]) -> None:
    print_rows(["name", "n"], [["=cmd()", -5], ["a,b", None]], "csv")
    rows = list(csv.reader(io.StringIO(capsys.readouterr().out)))
    assert rows == [["name", "n"], ["'=cmd()", "-5"], ["a,b", ""]]


@pytest.mark.parametrize(("value", "text"), [(3.21, "3.2 s"), (72, "1m 12s"), (3599.9, "1h 00m"), (7500, "2h 05m")])
def test_durations_are_short(value: float, text: str) -> None:
    assert duration(value) == text


def test_a_narrow_terminal_takes_from_the_message_before_it_takes_from_a_name() -> None:
    row = ["servicenow-prod-20261121t083222z", "Completed", "4,770 new or changed of 4,782 read, nothing was rejected"]
    narrow = table(["syncjob", "result", "message"], [row], width=80).splitlines()
    assert narrow[1].startswith("servicenow-prod-20261121t083222z   Completed   4,770 new")
    assert max(map(len, narrow)) <= 80
    assert "…" in narrow[1]


def test_a_very_narrow_terminal_wraps_rather_than_hiding_names_and_leaves_out_what_is_empty() -> None:
    rows = [["servicenow-production", "Synced", ""], ["tenable-production-emea", "Synced", ""]]
    narrow = table(["name", "status", "message"], rows, width=20).splitlines()
    assert narrow[0] == "NAME             STATUS"
    assert narrow[2].startswith("tenable-produ…")


def test_columns_that_people_type_from_are_never_cut() -> None:
    rows = [["microsoft-defender-endpoint", "Microsoft Defender for Endpoint", "machines vulnerabilities software"]]
    for width in (40, 60, 80):
        printed = table(["name", "title", "streams"], rows, width=width, whole=1)
        assert "microsoft-defender-endpoint   " in printed


def test_a_message_goes_on_in_the_next_line_where_it_is_to_be_read() -> None:
    row = ["SyncFailed", "SyncJob/tenable-production-s-863b3386", "2", "cloud.tenable.com does not answer (timed out)"]
    headers = ["reason", "object", "count", "message"]
    printed = table(headers, [row], width=80, whole=3, prose=True, spare=("count",)).splitlines()
    assert printed[0].split() == ["REASON", "OBJECT", "MESSAGE"]
    assert max(map(len, printed)) <= 80
    assert "".join(line[len("SyncFailed   SyncJob/tenable-production-s-863b3386   ") :] + " " for line in printed[1:]
                   ).split() == row[3].split()  # fmt: skip
    assert "COUNT" in table(headers, [row], width=120, whole=3, prose=True, spare=("count",))


def test_a_message_stands_below_its_row_where_names_leave_no_room_beside_them() -> None:
    name = "SyncJob/active-directory-s-d6366fc2"
    rows = [["41 s ago", "SyncStarted", name, f"Started Job {name}-1"], ["9 s ago", "SyncFailed", name, "word " * 20]]
    printed = table(["last seen", "reason", "object", "message"], rows, width=80, whole=3, prose=True).splitlines()
    assert printed[:3] == [
        "LAST SEEN   REASON        OBJECT",
        f"41 s ago    SyncStarted   {name}",
        f"    Started Job {name}-1",
    ]
    assert [line[:9] for line in printed[3:]] == ["9 s ago  ", "    word ", "    word "]
    assert max(map(len, printed)) <= 80
    wide = table(["last seen", "reason", "object", "message"], rows, width=120, whole=3, prose=True).splitlines()
    assert wide[0].endswith("MESSAGE")


def test_talk_is_broken_between_words_and_a_command_is_not_broken_at_all() -> None:
    command = "kubectl -n secops annotate secret servicenow-api towline.dev/allowed-hosts=acme.service-now.com"
    lines = _lines(f"The host is not allowed yet, and the Secret has to allow it: {command}", 60, 2)
    assert lines == ["The host is not allowed yet, and the Secret has to allow", "it:", command]
    assert _lines("short", 60, 2) == ["short"]
    assert _lines("long " * 30, None, 2) == ["long " * 30]
