"""The chart's alerts, proven by promtool, and what stands beside them."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hack.chart import CHART, CHECKOUT
from tests.prometheus import program

MONITORING = CHART / "files" / "monitoring"
RULES = MONITORING / "alerts.yaml"
TESTS = Path(__file__).with_name("alerts_test.yaml")
ALERTS = [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]
NAMES = [rule["alert"] for rule in ALERTS]
METRIC = re.compile(r"\btowline_[a-z_]+")


def test_promtool_accepts_the_rules() -> None:
    ended = subprocess.run([program("promtool"), "check", "rules", RULES], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr


def test_every_alert_fires_when_it_should_and_is_silent_when_not(tmp_path: Path) -> None:
    for file in (RULES, TESTS):
        shutil.copy(file, tmp_path)
    ended = subprocess.run(
        [program("promtool"), "test", "rules", TESTS.name], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr


def test_there_is_no_alert_without_a_test_that_sees_it_fire() -> None:
    cases = [case for test in yaml.safe_load(TESTS.read_text())["tests"] for case in test["alert_rule_test"]]
    assert {case["alertname"] for case in cases if case.get("exp_alerts")} == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_every_alert_has_a_runbook_that_says_what_to_do(name: str) -> None:
    text = (CHECKOUT / "docs" / "runbooks" / f"{name}.md").read_text()
    assert text.startswith(f"# {name}\n")
    for heading in ("## What it means", "## Find the cause", "## Do"):
        assert heading in text, f"the runbook lacks {heading!r}"


def test_there_is_no_runbook_without_its_alert() -> None:
    assert {path.stem for path in (CHECKOUT / "docs" / "runbooks").glob("Towline*.md")} == set(NAMES)


def panels() -> Iterator[tuple[str, dict[str, Any]]]:
    for path in sorted(MONITORING.glob("*.json")):
        for panel in json.loads(path.read_text())["panels"]:
            yield f"{path.stem}: {panel['title']}", panel


def test_alerts_and_panels_ask_only_for_metrics_that_the_operator_has() -> None:
    # The registry names a counter without _total and a histogram without _bucket.
    source = "".join((CHECKOUT / "operator" / "towline" / name).read_text() for name in ("metrics.py", "gauges.py"))
    known = set(re.findall(r'"(towline_[a-z_]+)"', source))
    asked = {metric for rule in ALERTS for metric in METRIC.findall(rule["expr"])}
    asked |= {
        metric for _, panel in panels() for target in panel["targets"] for metric in METRIC.findall(target["expr"])
    }
    assert {re.sub(r"_(total|bucket)$", "", metric) for metric in asked} <= known


def test_panels_have_a_title_a_unit_and_a_sentence() -> None:
    for name, panel in panels():
        assert panel["description"].endswith("."), name
        assert panel["fieldConfig"]["defaults"]["unit"], name


def test_no_panel_lies_over_another() -> None:
    for path in MONITORING.glob("*.json"):
        taken: dict[tuple[int, int], str] = {}
        for panel in json.loads(path.read_text())["panels"]:
            at = panel["gridPos"]
            for x in range(at["x"], at["x"] + at["w"]):
                for y in range(at["y"], at["y"] + at["h"]):
                    assert taken.setdefault((x, y), panel["title"]) == panel["title"], path.name
            assert at["x"] + at["w"] <= 24
