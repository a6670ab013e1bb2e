"""Every bundled connector passes the conformance suite, and docs/connectors.md says so."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests import slapd

from towline_connectors.catalogue import simulated
from towline_connectors.kit import overview
from towline_connectors.kit.conformance import directory

ROOT = Path(__file__).parents[3]
pytestmark = pytest.mark.timeout(1200)  # for a machine that does other things too; alone it takes two minutes
Results = dict[str, list[dict[str, Any]]]


@pytest.fixture(scope="module")
def results() -> Results:
    """The suite for all connectors, two at once."""
    slapd.available()  # installs it where it can
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TOWLINE_")}
    done = subprocess.run(
        [Path(sys.executable).parent / "towline", "connector", "test", "--all", "-o", "json"],
        capture_output=True,
        text=True,
        timeout=1100,
        env={**environment, "PYTHONUTF8": "1"},
    )
    assert done.stdout, done.stderr
    found: Results = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("name", [*simulated(), *directory.directories()])
def test_a_connector_passes_every_case_that_applies(results: Results, name: str) -> None:
    if name not in results and not slapd.available():
        pytest.skip("slapd is not installed, and only root can install it")
    failed = {each["case"]: each["why"] for each in results[name] if each["verdict"] == "fail"}
    assert failed == {}


def test_the_table_says_what_the_suite_found(results: Results) -> None:
    found = {name: {each["case"]: each["verdict"] for each in cases} for name, cases in results.items()}
    expected = overview.results()
    if not slapd.available():
        expected = {name: verdicts for name, verdicts in expected.items() if name not in directory.directories()}
    assert found == expected, "run make conformance"


def test_the_page_of_all_connectors_is_current() -> None:
    page = (ROOT / "docs" / "connectors.md").read_text("utf-8")
    assert page == overview.render(overview.results()), "run make generate"
