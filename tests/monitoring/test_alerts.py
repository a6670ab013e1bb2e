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

from towline.gauges import IntegrationSample
from towline.metrics import Metrics

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


def test_there_is_no_alert_without_a_test_that_sees_it_silent() -> None:
    cases = [case for test in yaml.safe_load(TESTS.read_text())["tests"] for case in test["alert_rule_test"]]
    assert {case["alertname"] for case in cases if not case.get("exp_alerts")} == set(NAMES)


def test_promtool_finds_nothing_odd_in_the_names_of_metrics() -> None:
    found = IntegrationSample("ns", "a", "acme", "EDR", (("Ready", "True", "Synced"),), False, 1.0, 60.0, 0)
    metrics = Metrics(lambda: [found], "1.0")
    for counter in (metrics.runs, metrics.records, metrics.missed, metrics.limited):
        labels = [label for label in counter._labelnames if label not in ("namespace", "integration")]
        metrics.count(counter, "ns", "a", *labels)
    page = metrics.text().decode()
    assert {
        name for name in re.findall(r"^# TYPE (\S+) counter", page, re.MULTILINE) if not name.endswith("_total")
    } == set()
    ended = subprocess.run(
        [program("promtool"), "check", "metrics"], input=page, capture_output=True, text=True, check=False
    )
    assert (ended.returncode, ended.stdout + ended.stderr) == (0, "")


@pytest.mark.parametrize("name", NAMES)
def test_every_alert_has_a_runbook_that_says_what_to_do(name: str) -> None:
    text = (CHECKOUT / "docs" / "runbooks" / f"{name}.md").read_text()
    assert text.startswith(f"# {name}\n")
    for heading in ("## What it means", "## Find the cause", "## Do"):
        assert heading in text, f"the runbook lacks {heading!r}"


def test_there_is_no_runbook_without_its_alert() -> None:
    assert {path.stem for path in (CHECKOUT / "docs" / "runbooks").glob("Towline*.md")} == set(NAMES)


def panels() -> Iterator[tuple[str, dict[str, Any]]]:
    """All but the rows under which they stand."""
    for path in sorted(MONITORING.glob("*.json")):
        for panel in json.loads(path.read_text())["panels"]:
            if panel["type"] != "row":
                yield f"{path.stem}: {panel['title']}", panel


def test_alerts_and_panels_ask_only_for_metrics_that_the_operator_has() -> None:
    # The registry names a counter without _total and a histogram without _bucket.
    source = "".join((CHECKOUT / "operator" / "towline" / name).read_text() for name in ("metrics.py", "gauges.py"))
    known = set(re.findall(r'"(towline_[a-z0-9_]+)"', source))
    asked = {metric for rule in ALERTS for metric in METRIC.findall(rule["expr"])}
    asked |= {
        metric for _, panel in panels() for target in panel["targets"] for metric in METRIC.findall(target["expr"])
    }
    assert {re.sub(r"_(total|bucket)$", "", metric) for metric in asked} <= known


def test_panels_have_a_title_a_unit_and_a_sentence() -> None:
    for name, panel in panels():
        assert panel["description"].endswith("."), name
        assert panel["fieldConfig"]["defaults"]["unit"], name


def test_a_table_names_its_columns_for_people_and_leads_to_the_one_integration() -> None:
    one = json.loads((MONITORING / "towline-integration.json").read_text())
    tables = [(name, panel) for name, panel in panels() if panel["type"] == "table"]
    assert len(tables) >= 6
    for name, panel in tables:
        (organized,) = panel["transformations"]
        names = organized["options"]["renameByName"]
        assert (names["namespace"], names["integration"]) == ("Namespace", "Integration"), name
        assert names["Value"] not in ("", "Value"), name
        assert panel["options"]["sortBy"][0]["displayName"] == names["Value"], name
        (links,) = [each for each in panel["fieldConfig"]["overrides"] if each["properties"][0]["id"] == "links"]
        (link,) = links["properties"][0]["value"]
        assert link["url"].startswith(f"/d/{one['uid']}?"), name
        asked = set(re.findall(r"var-([a-z]+)=", link["url"]))
        assert asked == {variable["name"] for variable in one["templating"]["list"]}, name


def test_both_dashboards_choose_their_data_source_and_what_they_show() -> None:
    for path in MONITORING.glob("*.json"):
        dashboard = json.loads(path.read_text())
        names = [variable["name"] for variable in dashboard["templating"]["list"]]
        assert names == ["datasource", "namespace", "integration"][: len(names)], path.name
        for panel in dashboard["panels"]:
            for target in panel.get("targets", []):
                assert target["datasource"]["uid"] == "${datasource}", panel["title"]
    for name, panel in panels():
        for target in panel["targets"]:
            of_one = "integration" in target["expr"] and "towline_build_info" not in target["expr"]
            assert not of_one or "$namespace" in target["expr"], name


def test_no_panel_lies_over_another() -> None:
    for path in MONITORING.glob("*.json"):
        taken: dict[tuple[int, int], str] = {}
        for panel in json.loads(path.read_text())["panels"]:
            at = panel["gridPos"]
            for x in range(at["x"], at["x"] + at["w"]):
                for y in range(at["y"], at["y"] + at["h"]):
                    assert taken.setdefault((x, y), panel["title"]) == panel["title"], path.name
            assert at["x"] + at["w"] <= 24
