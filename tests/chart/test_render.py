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
from tests.chart.schemas import VERSIONS, kubeconform
from tests.cluster.kubectl import kubectl
from tests.prometheus import program

from towline.core.facts import MANAGED_BY

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
        "metrics.service.enabled=false,progress.enabled=false,podDisruptionBudget.enabled=false"
    ],
    "guards and dashboards": [
        "--set=networkPolicy.enabled=true,grafanaDashboard.enabled=true,namespaces={default,kube-public}",
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
        '--set-json=extraVolumes=[{"name":"more","emptyDir":{}}]',
        '--set-json=extraVolumeMounts=[{"name":"more","mountPath":"/more"}]',
        '--set-json=topologySpreadConstraints=[{"topologyKey":"rack","maxSkew":1,"whenUnsatisfiable":"DoNotSchedule"}]',
        "--set=podSecurityContext.runAsUser=null,podSecurityContext.fsGroup=null,deploymentAnnotations.note=x",
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


@pytest.fixture(scope="module")
def everything(render: Render) -> str:
    """All that the chart can make, but for kinds of the Prometheus Operator: those are not Kubernetes' own."""
    return yaml.safe_dump_all(each for arguments in VALUES.values() for each in objects(render(*arguments)))


@pytest.mark.parametrize("version", VERSIONS)
def test_every_supported_version_of_kubernetes_knows_every_field(everything: str, version: str) -> None:
    found = kubeconform(version, everything)
    wrong = [each for each in found if each["status"] != "statusValid"]
    assert not wrong, json.dumps(wrong, indent=1)[:2000]
    assert {each["kind"] for each in found} >= {"CustomResourceDefinition", "ValidatingAdmissionPolicy", "Deployment"}


@pytest.mark.parametrize("version", [min(VERSIONS), max(VERSIONS)])
@pytest.mark.parametrize(
    ("field", "value"),
    [("replicas", "two"), ("replica", 2), ("strategy", {"rollingUpdate": {"maxSurge": [1]}})],
)
def test_a_field_that_kubernetes_does_not_know_would_be_found(
    render: Render, version: str, field: str, value: object
) -> None:
    deployment = only(render(), "Deployment")
    deployment["spec"][field] = value
    (found,) = kubeconform(version, yaml.safe_dump(deployment))
    assert found["status"] == "statusInvalid"


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


def test_pods_of_syncs_take_no_connection_and_reach_no_metadata_service(render: Render) -> None:
    arguments = ["--set=networkPolicy.enabled=true,namespaces={a,b},networkPolicy.syncs.ports={443}"]
    found = [each for each in objects(render(*arguments)) if each["kind"] == "NetworkPolicy"]
    policies = {each["metadata"]["namespace"]: each["spec"] for each in found}
    assert set(policies) == {"towline-system", "a", "b"}
    policy = policies["a"]
    # The label that the operator gives to every pod of a sync.
    assert policy["podSelector"] == {"matchLabels": {MANAGED_BY: "towline"}}
    assert policy["ingress"] == []
    names, systems, operator = policy["egress"]
    assert {port["port"] for port in names["ports"]} == {53}
    assert [port["port"] for port in systems["ports"]] == [443]
    four, six = [each["ipBlock"] for each in systems["to"]]
    assert four == {"cidr": "0.0.0.0/0", "except": ["169.254.0.0/16"]}
    assert six == {"cidr": "::/0", "except": ["fe80::/10", "fd00:ec2::/32"]}
    deployment = only(render(*arguments), "Deployment")["spec"]["template"]
    (to,) = operator["to"]
    assert to["podSelector"]["matchLabels"].items() <= deployment["metadata"]["labels"].items()
    assert operator["ports"][0]["port"] in {
        port["name"] for port in deployment["spec"]["containers"][0]["ports"] if port["containerPort"] == 8081
    }
    elsewhere = render("--set=networkPolicy.enabled=true", "--set=networkPolicy.syncs.namespaces={c}")
    assert {each["metadata"].get("namespace") for each in objects(elsewhere) if each["kind"] == "NetworkPolicy"} == {
        "towline-system",
        "c",
    }


def test_operators_are_spread_over_nodes_and_zones(render: Render) -> None:
    spec = only(render(), "Deployment")["spec"]
    pod = spec["template"]["spec"]
    (zones,) = pod["topologySpreadConstraints"]
    assert zones["topologyKey"] == "topology.kubernetes.io/zone"
    assert zones["labelSelector"] == spec["selector"]
    (nodes,) = pod["affinity"]["podAntiAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"]
    assert nodes["podAffinityTerm"]["topologyKey"] == "kubernetes.io/hostname"
    mine = (
        '--set-json=topologySpreadConstraints=[{"topologyKey":"rack","maxSkew":2,"whenUnsatisfiable":"DoNotSchedule"}]'
    )
    (rack,) = only(render(mine), "Deployment")["spec"]["template"]["spec"]["topologySpreadConstraints"]
    assert (rack["topologyKey"], rack["maxSkew"], rack["labelSelector"]) == ("rack", 2, spec["selector"])


def test_a_drain_leaves_an_operator_and_one_replica_stops_no_drain(render: Render) -> None:
    budget, deployment = only(render(), "PodDisruptionBudget"), only(render(), "Deployment")
    assert (deployment["spec"]["replicas"], budget["spec"]["maxUnavailable"]) == (2, 1)
    assert budget["spec"]["selector"] == deployment["spec"]["selector"]
    assert deployment["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"] == 0


def test_the_pod_of_helm_test_is_none_of_the_operators(render: Render) -> None:
    manifests = render()
    pod = only(manifests, "Pod")
    assert pod["metadata"]["annotations"]["helm.sh/hook"] == "test"
    selectors = [each["spec"]["selector"] for each in objects(manifests) if each["kind"] in {"Service", "Deployment"}]
    for selector in selectors:
        wanted = selector.get("matchLabels", selector)
        assert not wanted.items() <= pod["metadata"]["labels"].items()


def test_every_value_is_in_the_schema_and_every_field_of_the_schema_is_a_value() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text())

    def compare(values: dict[str, Any], fields: dict[str, Any], path: str = "") -> None:
        assert set(values) == set(fields) - {"global"}, path
        for key, value in values.items():
            if isinstance(value, dict) and "properties" in fields[key]:
                assert fields[key]["additionalProperties"] is False, path + key
                compare(value, fields[key]["properties"], f"{path}{key}.")

    compare(yaml.safe_load((CHART / "values.yaml").read_text()), schema["properties"])


def test_nothing_secret_is_listed_or_watched_by_any_role(render: Render) -> None:
    for arguments in ([], ["--set=namespaces={a,b}"]):
        for each in objects(render(*arguments)):
            for rule in each.get("rules", []):
                if "secrets" in rule["resources"] or "*" in rule["resources"]:
                    assert rule["verbs"] == ["get"], each["metadata"]["name"]


def test_networks_reach_the_operator_as_they_are_written(render: Render) -> None:
    values = '--set-json=egress={"allow":["10.0.0.0/8","[fd00::/8]:443","10.1.2.3/32:636"],"deny":["10.96.0.0/12"]}'
    arguments = only(render(values), "Deployment")["spec"]["template"]["spec"]["containers"][0]["args"]
    assert [each for each in arguments if each.startswith("--egress")] == [
        "--egress-allow=10.0.0.0/8",
        "--egress-allow=[fd00::/8]:443",
        "--egress-allow=10.1.2.3/32:636",
        "--egress-deny=10.96.0.0/12",
    ]


@pytest.mark.parametrize(
    ("argument", "named"),
    [
        ("image.repository=", "image/repository"),
        ("image.digest=latest", "image/digest"),
        ("sync.maxActive=0", "sync/maxActive"),
        ("destination.sqlite.size=big", "destination/sqlite/size"),
        ("namespaces={Not_A_Name}", "namespaces/0"),
        ("egress.allow={dc.corp.example}", "egress/allow/0"),
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
