"""The dashboards before a real Prometheus that reads the real operator after real syncs."""

from __future__ import annotations

import json
import re
import subprocess
import time
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from hack.chart import CHART
from hack.demo.target import RELEASE, SYSTEM_NAMESPACE
from tests.cluster.kubectl import find_kubectl
from tests.node.installation import Towline, until
from tests.prometheus import Prometheus, scraping

pytestmark = pytest.mark.node
DASHBOARDS = sorted((CHART / "files" / "monitoring").glob("*.json"))
QUERIES = [
    pytest.param(target["expr"], id=f"{path.stem}: {panel['title']} {target['refId']}")
    for path in DASHBOARDS
    for panel in json.loads(path.read_text())["panels"]
    for target in panel.get("targets", [])
]


@pytest.fixture(scope="module")
def metrics_address(towline: Towline) -> Iterator[str]:
    """HOST:PORT of this machine behind which the operator's metrics are."""
    command = [str(find_kubectl()), f"--kubeconfig={towline.target.kubeconfig}", "-n", SYSTEM_NAMESPACE]
    command += ["port-forward", f"service/{RELEASE}-metrics", ":8080"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        said = process.stdout.readline()  # Forwarding from 127.0.0.1:34567 -> 8080
        assert "Forwarding from 127.0.0.1:" in said
        yield said.split()[2]
        process.terminate()


@pytest.fixture(scope="module")
def prometheus(
    towline: Towline, namespace: str, tenable: str, metrics_address: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Prometheus]:
    """A Prometheus that has seen two syncs of the Integration `tenable` end."""
    with scraping(metrics_address, tmp_path_factory.mktemp("prometheus")) as found:
        until(lambda: found.query("towline_build_info"), 90)
        towline.tenable(namespace, "tenable", tenable)
        assert towline.result(namespace, "tenable")["reason"] == "Completed"
        # A counter's first value is no increase: only the second sync moves the rates.
        runs = f'sum(towline_sync_runs_total{{namespace="{namespace}"}})'
        until(lambda: found.query(f"{runs} >= 1"), 90)
        towline.target.kubectl("-n", namespace, "annotate", "integration", "tenable", "towline.dev/requested-at=again")
        until(lambda: found.query(f"{runs} >= 2"), 90)
        time.sleep(2)  # one more scrape, so that the last increase lies within a range
        yield found


@pytest.mark.parametrize("query", QUERIES)
def test_every_panel_shows_data(prometheus: Prometheus, namespace: str, query: str) -> None:
    for variable, value in {
        "$namespace": namespace,
        "$integration": "tenable",
        "$__rate_interval": "5m",
        "$__range": "5m",
    }.items():
        query = query.replace(variable, value)
    assert "$" not in re.sub(r'"[^"]*"', "", query), "a variable that this test does not know"
    found: list[dict[str, Any]] = prometheus.query(query)
    assert found, query
    assert all(series["value"][1] != "NaN" for series in found), query


def test_series_of_an_integration_carry_its_namespace(prometheus: Prometheus, namespace: str) -> None:
    assert len(prometheus.query(f'towline_integration_info{{namespace="{namespace}"}}')) == 1


def test_metrics_of_one_watch_carry_one_name(prometheus: Prometheus) -> None:
    # TowlineWatchFrozen joins them; what a list had to show is counted from the first such change.
    heard = prometheus.query("towline_watch_last_event_timestamp_seconds")
    assert {each["metric"]["resource"] for each in heard} >= {"connectors", "integrations", "syncjobs"}


def test_no_alert_fires_for_an_integration_that_is_well(prometheus: Prometheus, namespace: str) -> None:
    rules = yaml.safe_load((CHART / "files" / "monitoring" / "alerts.yaml").read_text())
    for rule in (rule for group in rules["groups"] for rule in group["rules"]):
        found = prometheus.query(rule["expr"])
        assert not [each for each in found if each["metric"].get("namespace", namespace) == namespace], rule["alert"]
