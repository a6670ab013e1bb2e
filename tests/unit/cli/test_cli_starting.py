"""How the command starts: fast, by its own name, and with sentences instead of tracebacks."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from towline.cli.main import VERBS

HEAVY = (
    "httpx",
    "pydantic",
    "kubernetes",
    "kopf",
    "aiohttp",
    "yaml",
    "rich",
    "psycopg",
    "jmespath",
    "ldap3",
    "sqlite3",
)
BIN = Path(sys.executable).parent


def towline(*arguments: str, program: str = "towline", **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [BIN / program, *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "PYTHONUTF8": "1", **environment},
    )


@pytest.mark.parametrize("arguments", [["--help"], ["--version"]])
def test_asking_for_help_imports_nothing_heavy(arguments: list[str]) -> None:
    code = f"""
import sys
from towline.cli.main import main
try:
    main({arguments!r})
except SystemExit as end:
    assert end.code == 0, end.code
print(*sorted(name for name in {HEAVY!r} if name in sys.modules), file=sys.stderr)
"""
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert ended.returncode == 0, ended.stderr
    assert ended.stderr.strip() == ""


def test_the_help_of_no_verb_imports_anything_heavy() -> None:
    verbs = [verb.name for _, section in VERBS for verb in section]
    code = f"""
import contextlib, io, sys
from towline.cli.main import main
for verb in {verbs!r}:
    with contextlib.suppress(SystemExit), contextlib.redirect_stdout(io.StringIO()):
        main([verb, "--help"])
    heavy = sorted(name for name in {HEAVY!r} if name in sys.modules)
    assert not heavy, (verb, heavy)
"""
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert ended.returncode == 0, ended.stderr


def test_help_names_every_verb_and_what_to_try_first() -> None:
    text = towline("--help").stdout
    for _, verbs in VERBS:
        for verb in verbs:
            assert f"  {verb.name} " in text
    assert "towline run cisa-kev" in text


def test_the_name_follows_the_way_it_was_called() -> None:
    assert towline("--help", program="kubectl-towline").stdout.startswith("Usage: kubectl towline ")
    assert "kubectl towline --help" in towline("rum", program="kubectl-towline").stderr


def test_a_mistyped_verb_gets_the_nearest_one() -> None:
    ended = towline("simulat")
    assert ended.returncode == 1
    assert ended.stdout == ""
    assert 'Did you mean "simulate"?' in ended.stderr


def test_wrong_usage_of_run_ends_with_the_usage_code_of_a_run() -> None:
    ended = towline("run", "--no-such-option")
    assert ended.returncode == 64
    assert "No such option" in ended.stderr
    assert "towline run --help" in ended.stderr


def test_wrong_usage_of_another_verb_ends_with_1() -> None:
    assert towline("version", "--no-such-option").returncode == 1


@pytest.mark.parametrize("line", ["sync --stream", "connector replay servicenow --har", "data --where"])
def test_an_option_without_its_value_leads_to_the_help_of_its_command(line: str) -> None:
    ended = towline(*line.split())
    command = " ".join(word for word in line.split() if word not in ("servicenow",) and not word.startswith("-"))
    assert f"See: towline {command} --help" in ended.stderr


def test_an_unforeseen_failure_names_its_type_only() -> None:
    code = """
from towline.cli import main, version
def boom(**_: object) -> None:
    raise RuntimeError("password=hunter2")
version.version.callback = boom
main.main(["version"])
"""
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert ended.returncode == 1
    assert "bug in Towline (RuntimeError)" in ended.stderr
    assert "TOWLINE_DEBUG=1" in ended.stderr
    assert "hunter2" not in ended.stderr
    assert "Traceback" not in ended.stderr


def test_the_details_of_a_bug_are_shown_on_request() -> None:
    code = """
from towline.cli import main, version
def boom(**_: object) -> None:
    raise RuntimeError("deep inside")
version.version.callback = boom
main.main(["version"])
"""
    environment = {**os.environ, "TOWLINE_DEBUG": "1"}
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, env=environment)
    assert "Traceback" in ended.stderr
    assert "deep inside" in ended.stderr


def test_a_reader_that_stops_early_is_no_failure() -> None:
    command = f"set -o pipefail; {BIN / 'towline'} --help | head -1"
    ended = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=60)
    assert ended.returncode == 0
    assert ended.stderr == ""


def test_without_a_verb_it_says_what_it_is_and_what_to_try(tmp_path: Path) -> None:
    lone = towline(KUBECONFIG=str(tmp_path / "absent"), HOME=str(tmp_path))
    first = lone.stdout.splitlines()[0]
    assert re.fullmatch(r"Towline \S+ · \d\d+ connectors · no cluster configured \(that is fine\)", first)
    assert "towline run cisa-kev" in lone.stdout
    config = tmp_path / "config"
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        place = f"127.0.0.1:{listening.getsockname()[1]}"
        config.write_text(
            json.dumps(
                {
                    "current-context": "a",
                    "contexts": [{"name": "a", "context": {"cluster": "b"}}],
                    "clusters": [{"name": "b", "cluster": {"server": f"https://{place}"}}],
                }
            )
        )
        assert f"cluster {place} answers" in towline(KUBECONFIG=str(config)).stdout
    assert f"cluster {place} does not answer" in towline(KUBECONFIG=str(config)).stdout
    config.write_text("no: {kubeconfig")
    assert towline(KUBECONFIG=str(config)).returncode == 0


def test_a_group_alone_shows_what_there_is() -> None:
    ended = towline("connector")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout == towline("connector", "--help").stdout


@pytest.mark.parametrize(("verb", "code"), [("run", 64), ("test", 1)])
@pytest.mark.parametrize("path", ["okta.yaml", "./okta", "-"])
def test_a_path_in_the_place_of_a_name_is_sent_to_the_option_for_files(verb: str, code: int, path: str) -> None:
    ended = towline(verb, path)
    assert (ended.returncode, ended.stdout) == (code, "")
    assert f"-f {path}" in ended.stderr


def test_one_letter_is_near_to_no_connector_and_a_part_of_a_name_is() -> None:
    assert "Did you mean" not in towline("explain", "d").stderr
    assert "Did you mean microsoft-entra-id?" in towline("explain", "entra").stderr


def test_a_folder_without_a_connector_is_told_as_that(tmp_path: Path) -> None:
    ended = towline("connector", "lint", str(tmp_path))
    assert ended.returncode == 1
    assert f"The folder {tmp_path} holds no connector.yaml." in ended.stderr


def test_a_connector_verb_tells_how_to_name_a_connector_of_ones_own() -> None:
    ended = towline("connector", "test", "nofile")
    assert ended.returncode == 1
    assert "give its folder, with connector.yaml in it, or the file" in ended.stderr
