"""The documentation's own promises: its links lead somewhere, and its tables name what exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from towline.api.conditions import Reason

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("examples/**/*.md")])
LINK = re.compile(r"\]\((?!https?:|mailto:|#)([^)#\s]+)(?:#[^)]*)?\)")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_within_the_checkout_lead_somewhere(page: Path) -> None:
    missing = [link for link in LINK.findall(page.read_text()) if not (page.parent / link).exists()]
    assert missing == []


def test_troubleshooting_speaks_of_reasons_that_exist() -> None:
    text = (ROOT / "docs" / "troubleshooting.md").read_text()
    named = re.findall(r"^\| ((?:`[A-Za-z]+`(?:, )?)+)", text, flags=re.MULTILINE)
    reasons = {reason for row in named for reason in re.findall(r"`([A-Za-z]+)`", row)}
    assert len(reasons) > 15
    assert reasons <= {str(reason) for reason in Reason}


def test_each_failure_mode_names_a_test_that_exists() -> None:
    """A function by its name, a file by its path, a promise that `make chaos` tries by its number."""
    text = (ROOT / "docs" / "failure-modes.md").read_text()
    functions = {
        name for file in ROOT.glob("tests/**/test_*.py") for name in re.findall(r"def (test_\w+)", _read(file))
    }
    tried = {int(number) for number in re.findall(r"^    (\d+): ", _read(ROOT / "tests/chaos/trials.py"), re.MULTILINE)}
    rows = [row for row in re.findall(r"^\| .*\|$", text, flags=re.MULTILINE) if not row.startswith("| Fault")]
    assert len(rows) > 30
    for row in rows:
        fault, *_, tests = [cell.strip() for cell in row.strip("|").split(" | ")]
        named = re.findall(r"`([^`]+)`(?: (\d+))?", tests)
        assert named, f"{fault}: no test"
        for name, number in named:
            exists = {"make chaos": int(number or 0) in tried, "make bench-scale": True}.get(name)
            if exists is None:
                exists = (ROOT / name).is_file() if name.startswith("tests/") else name in functions
            assert exists, f"{fault}: {name} {number}".rstrip()
    told = {int(number) for numbers in re.findall(r"\(([\d, ]+)\)", text) for number in numbers.split(",")}
    assert tried <= told, "a promise that is tried has no row"


def _read(file: Path) -> str:
    return file.read_text(encoding="utf-8")
