"""Monitors, rules and dashboards of the release."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
import yaml
from hack.chart import CHART
from tests.chart.foreign import PROMETHEUS_OPERATOR, accepted, served
from tests.chart.rendered import Render, objects, only
from tests.prometheus import program


def test_the_rules_in_the_release_are_those_of_the_file_with_links_to_runbooks(render: Render, tmp_path: Path) -> None:
    manifests = render("--set=prometheusRule.enabled=true,prometheusRule.runbookURL=https://wiki.example.com/towline/")
    groups = only(manifests, "PrometheusRule")["spec"]["groups"]
    source = yaml.safe_load((CHART / "files" / "monitoring" / "alerts.yaml").read_text())["groups"]
    for group in groups:
        for rule in group["rules"]:
            link = rule["annotations"].pop("runbook_url")
            assert link == f"https://wiki.example.com/towline/{rule['alert']}.md"
    assert groups == source
    some = render(
        "--set=prometheusRule.enabled=true,prometheusRule.disabledAlerts={TowlineRecordsRejected}",
        "--set=prometheusRule.alertLabels.team=sec,prometheusRule.alertLabels.severity=page",
    )
    rules = [rule for group in only(some, "PrometheusRule")["spec"]["groups"] for rule in group["rules"]]
    wanted = [rule["alert"] for group in source for rule in group["rules"] if rule["alert"] != "TowlineRecordsRejected"]
    assert [rule["alert"] for rule in rules] == wanted
    assert all(rule["labels"].items() >= {"team": "sec", "severity": "page"}.items() for rule in rules)
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump({"groups": groups}))
    checked = subprocess.run([program("promtool"), "check", "rules", tmp_path / "rules.yaml"], check=False)
    assert checked.returncode == 0


def test_the_monitor_finds_the_metrics_service(render: Render) -> None:
    manifests = render("--set=serviceMonitor.enabled=true,serviceMonitor.labels.release=prometheus")
    monitor = only(manifests, "ServiceMonitor")
    (service,) = [
        each
        for each in objects(manifests)
        if each["kind"] == "Service" and each["metadata"]["name"].endswith("-metrics")
    ]
    assert monitor["metadata"]["labels"]["release"] == "prometheus"
    assert monitor["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    assert [each["port"] for each in monitor["spec"]["endpoints"]] == [service["spec"]["ports"][0]["name"]]


def test_a_monitor_of_pods_needs_no_service(render: Render) -> None:
    manifests = render("--set=podMonitor.enabled=true,podMonitor.namespace=monitoring,metrics.service.enabled=false")
    monitor, deployment = only(manifests, "PodMonitor"), only(manifests, "Deployment")["spec"]["template"]
    assert monitor["metadata"]["namespace"] == "monitoring"
    assert monitor["spec"]["namespaceSelector"] == {"matchNames": ["towline-system"]}
    assert monitor["spec"]["selector"]["matchLabels"].items() <= deployment["metadata"]["labels"].items()
    (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
    ports = {port["name"]: port["containerPort"] for port in deployment["spec"]["containers"][0]["ports"]}
    assert ports[endpoint["port"]] == 8080
    assert endpoint["honorLabels"] is True


MONITORED = [
    "--set=prometheusRule.enabled=true,prometheusRule.runbookURL=https://wiki.example.com",
    '--set-json=prometheusRule.additionalGroups=[{"name":"more","rules":[{"record":"a:b","expr":"vector(1)"}]}]',
]
_RELABELED = [
    f'--set-json={{kind}}={{"enabled":true,"scrapeTimeout":"10s",{each}}}'
    for each in ('"relabelings":[{"action":"labeldrop","regex":"pod"}],'
                 '"metricRelabelings":[{"action":"keep","sourceLabels":["__name__"],"regex":"towline_.*"}]',)
]  # fmt: skip


@pytest.mark.api
def test_the_definitions_of_the_prometheus_operator_accept_monitors_and_rules(
    control_plane: Path, namespace: str, render: Render
) -> None:
    definitions = [
        (PROMETHEUS_OPERATOR, f"example/prometheus-operator-crd/monitoring.coreos.com_{each}.yaml")
        for each in ("servicemonitors", "podmonitors", "prometheusrules")
    ]
    with served(control_plane, *definitions):
        for monitor in ("serviceMonitor", "podMonitor"):
            found = objects(render(*MONITORED, *(each.replace("{kind}", monitor) for each in _RELABELED)))
            ours = [each for each in found if each["apiVersion"] == "monitoring.coreos.com/v1"]
            assert {each["kind"].lower() for each in ours} == {monitor.lower(), "prometheusrule"}
            for each in ours:
                accepted(control_plane, each, namespace)


def test_the_grafana_operator_is_told_of_each_dashboard(render: Render) -> None:
    manifests = render("--set=grafanaDashboard.enabled=true,grafanaDashboard.grafanaOperator.enabled=true")
    (source,) = [each for each in objects(manifests) if each["kind"] == "ConfigMap"]
    told = [each["spec"] for each in objects(manifests) if each["kind"] == "GrafanaDashboard"]
    assert {each["configMapRef"]["key"] for each in told} == set(source["data"])
    for each in told:
        assert each["configMapRef"]["name"] == source["metadata"]["name"]
        assert each["instanceSelector"] == {"matchLabels": {"dashboards": "grafana"}}
        assert each["folder"] == "Towline"


def test_dashboards_are_where_grafana_looks(render: Render) -> None:
    found = only(render("--set=grafanaDashboard.enabled=true"), "ConfigMap")
    assert found["metadata"]["labels"]["grafana_dashboard"] == "1"
    assert set(found["data"]) == {"towline-fleet.json", "towline-integration.json"}
    for text in found["data"].values():
        assert json.loads(text)["panels"]
