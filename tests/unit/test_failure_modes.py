"""docs/failure-modes.md: each fault says what is seen, done and left to do, and names tests that exist."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest
from tests.chaos.trials import TRIALS

CHECKOUT = Path(__file__).parents[2]
PAGE = CHECKOUT / "docs" / "failure-modes.md"
_TEST = re.compile(r"`(test_[a-z0-9_]+|tests/[\w/.]+|make [a-z-]+)`( \d+)?")


def rows() -> list[list[str]]:
    lines = [line for line in PAGE.read_text().splitlines() if line.startswith("| ")]
    cells = [[cell.strip() for cell in line.strip("| ").split(" | ")] for line in lines]
    return [row for row in cells if row[0] != "Fault"]


@cache
def functions() -> frozenset[str]:
    files = (CHECKOUT / "tests").rglob("test_*.py")
    return frozenset(name for file in files for name in re.findall(r"def (test_\w+)\(", file.read_text()))


def test_the_page_has_its_rows() -> None:
    assert len(rows()) > 30


@pytest.mark.parametrize("row", rows(), ids=lambda row: row[0][:40])
def test_each_fault_has_all_cells_and_names_tests_that_exist(row: list[str]) -> None:
    assert len(row) == 5, "fault, what you see, what Towline does, what to do, test"
    named = _TEST.findall(row[4])
    assert named, "no test"
    for name, promise in named:
        if name.startswith("test_"):
            assert name in functions()
        elif name.startswith("tests/"):
            assert (CHECKOUT / name).exists()
        elif promise:
            assert name == "make chaos"
            assert int(promise) in TRIALS
