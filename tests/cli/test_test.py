"""`towline test`: an account is tried stream by stream, and nothing is written."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.cli.conftest import Towline


def test_each_stream_is_asked_once_and_nothing_is_written(
    towline: Towline, simulator: Callable[..., Path], tmp_path: Path
) -> None:
    file = simulator("servicenow")
    ended = towline("test", "-f", str(file))
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout == ""
    assert "✔ credentials: accepted" in ended.stderr
    assert "records in the first page" in ended.stderr
    assert not list(tmp_path.glob("*.db"))
    told = json.loads(towline("test", "-f", str(file), "--stream", "incidents", "-o", "json").stdout)
    assert [(entry["stream"], entry["verdict"]) for entry in told] == [("", "fine"), ("incidents", "fine")]
    assert told[1]["records"] > 0


def test_wrong_credentials_fail_with_the_reason_and_without_asking_further(
    towline: Towline, simulator: Callable[..., Path]
) -> None:
    file = simulator("servicenow")
    wrong = file.with_name("wrong.yaml")
    wrong.write_text(re.sub(r"(password|client_secret|api_key): .*", r"\1: wrong-one", file.read_text()))
    ended = towline("test", "-f", str(wrong))
    assert ended.returncode == 2
    assert "✗ credentials: CredentialsRejected" in ended.stderr
    assert "incidents" not in ended.stderr
    assert "wrong-" not in ended.stderr


def test_a_stream_that_needs_an_export_is_left_out(towline: Towline, simulator: Callable[..., Path]) -> None:
    ended = towline("test", "-f", str(simulator("tenable-io")))
    assert ended.returncode == 0, ended.stderr
    assert "vulnerabilities: not tried: an export job" in ended.stderr


def test_what_cannot_be_tried_is_a_sentence(towline: Towline) -> None:
    assert towline("test").returncode == 1
    ended = towline("test", "servicenow")
    assert ended.returncode == 1
    assert "needs the credentials" in ended.stderr or "host" in ended.stderr
