"""What the chart makes of its values, and that a real API server accepts it."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hack.chart import CHART, stale_files
from tests.cluster.kubectl import kubectl
from tests.prometheus import program

Helm = Callable[..., subprocess.CompletedProcess[str]]
Render = Callable[..., str]

VALUES = {
    "none": [],
    "a digest and pull secrets": [
        "--set=image.repository=registry.example.com/towline",
        f"--set=image.digest=sha256:{'ab' * 32}",
        "--set=imagePullSecrets[0].name=registry,sync.imagePullSecrets[0]=registry,sync.priorityClassName=low",
    ],
    "listed namespaces": ["--set=namespaces={default,kube-public}"],
    "postgresql by default": ["--set=destination.secretName=warehouse"],
    "another volume": [
        "--set=destination.sqlite.size=20Gi,destination.sqlite.storageClassName=fast,destination.sqlite.claimName=rows"
    ],
    "an account of one's own": ["--set=serviceAccount.create=false,serviceAccount.name=towline-operator"],
    "all that can be left out": [
        "--set=crds.install=false,rbac.create=false,rbac.aggregate=false,admissionPolicy.enabled=false,"
        "metrics.service.enabled=false,progress.enabled=false"
    ],
    "guards and dashboards": [
        "--set=networkPolicy.enabled=true,podDisruptionBudget.enabled=true,grafanaDashboard.enabled=true",
        '--set-json=networkPolicy.metricsFrom=[{"namespaceSelector":{"matchLabels":{"name":"monitoring"}}}]',
        '--set-json=networkPolicy.egress=[{"ports":[{"port":3128,"protocol":"TCP"}]}]',
        '--set-json=extraObjects=[{"apiVersion":"v1","kind":"ConfigMap","metadata":'
        '{"name":"{{ .Release.Name }}-more","namespace":"{{ .Release.Namespace }}"}}]',
    ],
    "placement": [
        "--set=priorityClassName=system-cluster-critical,nodeSelector.disk=ssd,podLabels.team=sec,"
        "podAnnotations.note=x,commonLabels.owner=sec",
        '--set-json=tolerations=[{"key":"a","operator":"Exists"}]',
        '--set-json=affinity={"nodeAffinity":{}}',
        '--set-json=extraEnv=[{"name":"TZ","value":"UTC"}]',
    ],
}


def objects(manifests: str) -> list[dict[str, Any]]:
    return [each for each in yaml.safe_load_all(manifests) if each]


def only(manifests: str, kind: str) -> dict[str, Any]:
    (found,) = [each for each in objects(manifests) if each["kind"] == kind]
    return found


def test_helm_lint_finds_nothing(helm: Helm) -> None:
    result = helm("lint", "--strict", str(CHART))
    assert result.returncode == 0, result.stdout + result.stderr


def test_the_definitions_in_the_chart_are_those_that_the_models_make() -> None:
    assert stale_files() == []


@pytest.mark.api
@pytest.mark.parametrize("arguments", VALUES.values(), ids=VALUES.keys())
def test_the_api_server_accepts_every_object(
    control_plane: Path, namespace: str, render: Render, arguments: list[str]
) -> None:
    manifests = render(*arguments, namespace=namespace)
    kubectl(
        control_plane, "apply", "--server-side", "--force-conflicts", "--dry-run=server", "-f", "-", stdin=manifests
    )


@pytest.mark.api
def test_the_operator_may_run_where_only_restricted_pods_may(
    control_plane: Path, namespace: str, render: Render
) -> None:
    kubectl(control_plane, "label", "namespace", namespace, "pod-security.kubernetes.io/enforce=restricted")
    deployment = only(render(namespace=namespace), "Deployment")
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "operator", "namespace": namespace}}
    # The account comes with the release; without it the API server refuses a pod before it looks at its security.
    pod["spec"] = deployment["spec"]["template"]["spec"] | {"serviceAccountName": "default"}
    said = kubectl(control_plane, "apply", "--dry-run=server", "-f", "-", stdin=yaml.safe_dump(pod), timeout=60)
    assert "created" in said


def test_syncs_and_operator_run_from_the_same_image(render: Render) -> None:
    digest = f"sha256:{'0f' * 32}"
    manifests = render(
        "--set", f"image.repository=registry.example.com/towline,image.tag=ignored,image.digest={digest}"
    )
    (container,) = only(manifests, "Deployment")["spec"]["template"]["spec"]["containers"]
    assert container["image"] == f"registry.example.com/towline@{digest}"
    assert f"--image={container['image']}" in container["args"]


def test_the_chart_of_a_release_runs_the_image_of_that_release(render: Render) -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    (container,) = only(render(), "Deployment")["spec"]["template"]["spec"]["containers"]
    assert container["image"].endswith(f":{chart['appVersion']}")


def test_definitions_outlive_the_release_unless_asked_otherwise(render: Render) -> None:
    def policies(*arguments: str) -> set[str | None]:
        return {
            each["metadata"].get("annotations", {}).get("helm.sh/resource-policy")
            for each in objects(render(*arguments))
            if each["kind"] == "CustomResourceDefinition"
        }

    assert policies() == {"keep"}
    assert policies("--set=crds.keep=false") == {None}


def test_the_rules_in_the_release_are_those_of_the_file_with_links_to_runbooks(render: Render, tmp_path: Path) -> None:
    manifests = render("--set=prometheusRule.enabled=true,prometheusRule.runbookURL=https://wiki.example.com/towline/")
    groups = only(manifests, "PrometheusRule")["spec"]["groups"]
    source = yaml.safe_load((CHART / "files" / "monitoring" / "alerts.yaml").read_text())["groups"]
    for group in groups:
        for rule in group["rules"]:
            link = rule["annotations"].pop("runbook_url")
            assert link == f"https://wiki.example.com/towline/{rule['alert']}.md"
    assert groups == source
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


def test_dashboards_are_where_grafana_looks(render: Render) -> None:
    found = only(render("--set=grafanaDashboard.enabled=true"), "ConfigMap")
    assert found["metadata"]["labels"]["grafana_dashboard"] == "1"
    assert set(found["data"]) == {"towline-fleet.json", "towline-integration.json"}
    for text in found["data"].values():
        assert json.loads(text)["panels"]


def test_nothing_secret_is_listed_or_watched_by_any_role(render: Render) -> None:
    for arguments in ([], ["--set=namespaces={a,b}"]):
        for each in objects(render(*arguments)):
            for rule in each.get("rules", []):
                if "secrets" in rule["resources"] or "*" in rule["resources"]:
                    assert rule["verbs"] == ["get"], each["metadata"]["name"]


@pytest.mark.parametrize(
    ("argument", "named"),
    [
        ("image.repository=", "image/repository"),
        ("image.digest=latest", "image/digest"),
        ("sync.maxActive=0", "sync/maxActive"),
        ("destination.sqlite.size=big", "destination/sqlite/size"),
        ("namespaces={Not_A_Name}", "namespaces/0"),
        ("imgae.tag=x", "imgae"),
    ],
)
def test_a_wrong_value_is_refused_and_named(helm: Helm, argument: str, named: str) -> None:
    result = helm("template", "towline", str(CHART), "--set", argument)
    assert result.returncode != 0
    assert named in result.stderr or named.replace("/", ".") in result.stderr, result.stderr


@pytest.mark.api
def test_the_notes_name_the_namespace_of_the_first_integration(control_plane: Path, helm: Helm) -> None:
    values = "--set=crds.install=false,namespaces={secops}"
    result = helm("install", "towline", str(CHART), "--dry-run=client", f"--kubeconfig={control_plane}", values)
    assert result.returncode == 0, result.stderr
    assert "kubectl -n secops wait integration/cisa-kev" in result.stdout
