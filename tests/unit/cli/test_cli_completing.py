"""What Tab offers without a cluster, asked as a shell asks."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.unit.cli.test_cli_starting import HEAVY, towline

BIN = Path(sys.executable).parent


def offered(line: str) -> list[str]:
    """The answer to Tab at the end of `line`, as bash gets it: a type and a value a line."""
    place = str(len(line.split(" ")) - 1)
    asked = {"_TOWLINE_COMPLETE": "bash_complete", "COMP_WORDS": line, "COMP_CWORD": place, "KUBECONFIG": "/nowhere"}
    ended = towline(**asked)
    assert ended.stderr == ""
    return ended.stdout.split()


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("towline wh", ["plain,why"]),
        ("towline explain tenable", ["plain,tenable-io"]),
        ("towline run servicen", ["plain,servicenow"]),
        ("towline run servicenow --stream inc", ["plain,incidents"]),
        ("towline run servicenow --stream incidents --stream inc", []),
        ("towline new servicenow --stream inc", ["plain,incidents"]),
        ("towline connector replay servicenow --stream inc", ["plain,incidents"]),
        ("towline data asset_li", ["plain,asset_links"]),
        ("towline data -o j", ["plain,json"]),
        ("towline validate -f ./exa", ["file,./exa"]),
        ("towline connector lint ./con", ["file,./con"]),
        ("towline connector lint servicen", ["plain,servicenow"]),
        ("towline explain no-such", []),
        ("towline run no-such --stream a", []),
    ],
)
def test_names_files_and_words_are_offered(line: str, expected: list[str]) -> None:
    assert offered(line) == expected


@pytest.mark.parametrize(
    "line", ["towline status ", "towline sync p", "towline why -n ", "towline sync prod --stream "]
)
def test_without_a_cluster_nothing_is_offered_and_nothing_is_said(line: str) -> None:
    assert offered(line) == []


def test_completing_a_verb_imports_nothing_heavy() -> None:
    code = f"""
import os, sys
os.environ |= {{"_TOWLINE_COMPLETE": "bash_complete", "COMP_WORDS": "towline st", "COMP_CWORD": "1"}}
from towline.cli.main import main
try:
    main([])
except SystemExit:
    pass
print(sorted(set({HEAVY!r}) & set(sys.modules)))
"""
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert ended.stdout.split() == ["plain,status", "[]"]


def test_bash_itself_completes_with_the_script() -> None:
    words = '( COMP_WORDS=(towline explain tenab); COMP_CWORD=2; _towline_completion towline; echo "${COMPREPLY[*]}" )'
    script = f"source <(towline completion bash)\n{words}\ncomplete -p towline\n"
    path = f"{BIN}{os.pathsep}{os.environ['PATH']}"
    ended = subprocess.run(
        ["bash", "--norc", "-c", script],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
        env={**os.environ, "PATH": path},
    )
    assert ended.stdout.splitlines() == ["tenable-io", "complete -o nosort -F _towline_completion towline"]
