"""The examples, and the commands that the README shows."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml

if TYPE_CHECKING:
    from tests.cli.conftest import Towline

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted(path.parent for path in (ROOT / "examples").glob("*/integration.yaml"))


@pytest.mark.parametrize("folder", EXAMPLES, ids=lambda folder: folder.name)
def test_every_example_is_valid(towline: Towline, folder: Path) -> None:
    ended = towline("validate", "-f", str(folder), "-o", "json")
    findings = json.loads(ended.stdout)
    assert findings
    assert [finding["problems"] for finding in findings] == [[]] * len(findings)
    assert ended.returncode == 0


def test_the_first_example_brings_its_data(towline: Towline, simulator: Callable[..., Path]) -> None:
    file = simulator("cisa-kev", "--set", "vulnerabilities=30")
    url = list(yaml.safe_load_all(file.read_text()))[-1]["spec"]["config"]["base_url"]
    ended = towline("run", "-f", str(ROOT / "examples" / "01-first-sync"), "--set", f"base_url={url}")
    assert ended.returncode == 0, ended.stderr
    shown = towline("data", "vulnerabilities", "--limit", "5")
    assert shown.returncode == 0, shown.stderr
    assert len(shown.stdout.splitlines()) == 6


def test_every_command_in_the_documentation_exists(towline: Towline) -> None:
    verbs = set(re.findall(r"^  ([a-z]+)  ", towline("--help").stdout, flags=re.MULTILINE))
    pages = [ROOT / "README.md", *ROOT.glob("docs/**/*.md"), *ROOT.glob("examples/**/*.*")]
    for page in pages:
        for verb in re.findall(r"(?:^|`)towline ([a-z]+)\b", page.read_text(), flags=re.MULTILINE):
            assert verb in verbs, f"{page.relative_to(ROOT)}: there is no command towline {verb}"
