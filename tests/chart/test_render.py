"""What the chart makes of its values, and that a real API server accepts it."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hack.chart import CHART, stale_files, values
from tests.chart.foreign import PROMETHEUS_OPERATOR, accepted, served
from tests.chart.schemas import VERSIONS, kubeconform
from tests.cluster.kubectl import kubectl
from tests.node.previous import previous_chart
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
    "a mirror, and a chart around this one": [
        "--set=image.registry=mirror.example.com,global.imagePullSecrets={registry},imagePullSecrets={more}"
    ],
    "nodes of their own for syncs, where the cluster gives out users": [
        "--set=sync.nodeSelector.pool=batch,sync.podAnnotations.note=x",
        "--set-string=sync.podLabels.sidecar\\.istio\\.io/inject=false",
        '--set-json=sync.tolerations=[{"key":"batch","operator":"Exists"}]',
        *(
            f"--set={pod}podSecurityContext.{each}=null"
            for pod in ("", "sync.")
            for each in ("runAsUser", "runAsGroup", "fsGroup")
        ),
    ],
    "readers of the catalogue": [
        '--set-json=rbac.connectorReaders=[{"kind":"Group","name":"system:authenticated"},'
        '{"kind":"ServiceAccount","name":"portal","namespace":"default"}]'
    ],
    "more patience": ["--set=livenessProbe.failureThreshold=12,startupProbe.periodSeconds=5,logLevel=DEBUG"],
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
    return [each for each in yaml.load_all(manifests, yaml.CSafeLoader) if each]  # a tenth of safe_load_all's time


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


@pytest.mark.parametrize(
    ("arguments", "image"),
    [
        ("image.registry=mirror.example.com", "mirror.example.com/towline:1"),
        (
            "image.registry=mirror.example.com,image.repository=ghcr.io/acme/towline",
            "mirror.example.com/acme/towline:1",
        ),
        ("global.imageRegistry=mirror:5000,image.repository=acme/towline", "mirror:5000/acme/towline:1"),
        ("global.imageRegistry=one,image.registry=two/proxy/", "one/towline:1"),
        ("image.registry=two/proxy/", "two/proxy/towline:1"),
    ],
)
def test_a_mirror_takes_the_registrys_place(render: Render, arguments: str, image: str) -> None:
    deployment = only(render("--set", arguments, "--set-string=image.tag=1"), "Deployment")
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    assert (container["image"], f"--image={image}" in container["args"]) == (image, True)


def test_pull_secrets_reach_operator_test_and_syncs(render: Render) -> None:
    def secrets(*arguments: str) -> tuple[list[str], list[str], list[str]]:
        manifests = render(*arguments)
        operator, test = only(manifests, "Deployment")["spec"]["template"]["spec"], only(manifests, "Pod")["spec"]
        given = operator["containers"][0]["args"]
        syncs = [each.partition("=")[2] for each in given if each.startswith("--image-pull-secret=")]
        listed = [[each["name"] for each in pod.get("imagePullSecrets", [])] for pod in (operator, test)]
        return listed[0], listed[1], syncs

    assert secrets() == ([], [], [])
    both = ["mine", "another"], ["mine", "another"], ["mine", "another"]
    assert secrets("--set=imagePullSecrets={mine,another}") == both
    assert secrets("--set=global.imagePullSecrets={mine},imagePullSecrets[0].name=another") == both
    assert secrets("--set=imagePullSecrets={mine}", "--set=sync.imagePullSecrets={there}")[2] == ["there"]


def test_what_syncs_need_of_a_cluster_reaches_the_operator_and_nothing_by_default(render: Render) -> None:
    def given(*arguments: str) -> dict[str, Any] | None:
        args = only(render(*arguments), "Deployment")["spec"]["template"]["spec"]["containers"][0]["args"]
        found = [each.partition("=")[2] for each in args if each.startswith("--job-pod=")]
        return json.loads(found[0]) if found else None

    assert given() is None
    assert given(*VALUES["nodes of their own for syncs, where the cluster gives out users"]) == {
        "nodeSelector": {"pool": "batch"},
        "tolerations": [{"key": "batch", "operator": "Exists"}],
        "labels": {"sidecar.istio.io/inject": "false"},
        "annotations": {"note": "x"},
        "securityContext": {},
    }
    assert given("--set=sync.podSecurityContext.fsGroup=2000") == {
        "securityContext": {"runAsUser": 65532, "runAsGroup": 65532, "fsGroup": 2000}
    }


def test_values_of_an_older_chart_are_filled_up(helm: Helm, render: Render, tmp_path: Path) -> None:
    """`helm upgrade --reuse-values` takes the older chart's values in the place of this one's."""
    older = previous_chart(tmp_path)
    shutil.copytree(CHART, tmp_path / "reused")
    before, now = ((chart / "values.yaml").read_text() for chart in (older, CHART))
    assert set(yaml.safe_load(now)) > set(yaml.safe_load(before))
    (tmp_path / "reused" / "values.yaml").write_text(before)
    result = helm("template", "towline", str(tmp_path / "reused"), "--namespace=towline-system")
    assert result.returncode == 0, result.stderr
    # What was measured or chosen anew since then stays as it was; nothing else may differ.
    settings = only(result.stdout, "Deployment")["spec"]["template"]["spec"]["containers"][0]["args"]
    assert set(only(render(), "Deployment")["spec"]["template"]["spec"]["containers"][0]["args"]) == set(settings)


def test_it_can_be_a_part_of_another_chart_that_switches_it_off(helm: Helm, tmp_path: Path) -> None:
    shutil.copytree(CHART, tmp_path / "charts" / "towline")
    version = yaml.safe_load((CHART / "Chart.yaml").read_text())["version"]
    part = {"name": "towline", "version": version, "condition": "towline.enabled"}
    around = {"apiVersion": "v2", "name": "platform", "version": "1.0.0", "dependencies": [part]}
    (tmp_path / "Chart.yaml").write_text(yaml.safe_dump(around))
    values = {
        "global": {"imageRegistry": "mirror.example.com", "other": 1},
        "towline": {"enabled": True, "replicas": 1},
    }
    (tmp_path / "values.yaml").write_text(yaml.safe_dump(values))
    result = helm("template", "platform", str(tmp_path))
    assert result.returncode == 0, result.stderr
    deployment = only(result.stdout, "Deployment")
    assert (deployment["metadata"]["name"], deployment["spec"]["replicas"]) == ("platform-towline", 1)
    image = deployment["spec"]["template"]["spec"]["containers"][0]["image"]
    assert image.startswith("mirror.example.com/towline:")
    assert helm("template", "platform", str(tmp_path), "--set=towline.enabled=false").stdout.strip() == ""


def test_groups_of_values_that_are_missing_have_their_defaults(render: Render) -> None:
    groups = sorted({key.split(".")[0] for key, _, _ in values() if "." in key})
    assert {"egress", "progress", "podMonitor"} < set(groups)
    assert render("--set", ",".join(f"{group}=null" for group in groups)) == render()


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


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("serviceMonitor.enabled=true,metrics.service.enabled=false", "set podMonitor.enabled instead"),
        ("serviceMonitor.enabled=true,podMonitor.enabled=true", "set one of them"),
        (
            "prometheusRule.enabled=true,prometheusRule.disabledAlerts={TowlineStale}",
            "there are TowlineIntegrationStale",
        ),
        ("serviceAccount.create=false", "serviceAccount.name must name an existing ServiceAccount"),
    ],
)
def test_values_that_contradict_each_other_are_refused_with_the_cure(helm: Helm, arguments: str, said: str) -> None:
    result = helm("template", "towline", str(CHART), "--set", arguments)
    assert (result.returncode != 0, said in result.stderr) == (True, True), result.stderr


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


def test_the_operators_policy_lets_out_health_calls_and_lets_in_helm_test(render: Render) -> None:
    arguments = ["--set=networkPolicy.enabled=true,networkPolicy.egress[0].ports[0].port=3128"]
    arguments += ['--set-json=networkPolicy.metricsFrom=[{"namespaceSelector":{"matchLabels":{"name":"monitoring"}}}]']
    manifests = render(*arguments)
    policy = only(manifests, "NetworkPolicy")["spec"]
    names, asked, more = policy["egress"]
    assert {port["port"] for port in names["ports"]} == {53}
    assert [port["port"] for port in asked["ports"]] == [443, 6443, 636]  # directories are probed too
    assert [port["port"] for port in more["ports"]] == [3128]
    monitoring, test = policy["ingress"][0]["from"]
    assert monitoring == {"namespaceSelector": {"matchLabels": {"name": "monitoring"}}}
    assert test["podSelector"]["matchLabels"].items() <= only(manifests, "Pod")["metadata"]["labels"].items()


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

    # Those that are seldom wanted have a default of Kubernetes' own; `enabled` is another chart's.
    unset = {
        "": {"enabled"},
        "sync.podSecurityContext.": {"fsGroupChangePolicy", "supplementalGroups", "seLinuxOptions"},
    }

    def compare(values: dict[str, Any], fields: dict[str, Any], path: str = "") -> None:
        assert set(values) == set(fields) - unset.get(path, set()), path
        for key, value in values.items():
            if isinstance(value, dict) and "properties" in fields[key]:
                assert fields[key]["additionalProperties"] is False, path + key
                compare(value, fields[key]["properties"], f"{path}{key}.")

    compare(yaml.safe_load((CHART / "values.yaml").read_text()), schema["properties"])


def test_every_value_is_explained() -> None:
    assert [key for key, _, about in values() if not about] == []


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
        ("sync.podSecurityContext.runAsUser=0", "sync/podSecurityContext/runAsUser"),
        ("sync.podSecurityContext.privileged=true", "privileged"),
        ("image.registry=https://registry.example.com", "image/registry"),
        ("logLevel=debug", "logLevel"),
        ("livenessProbe.period=3", "livenessProbe"),
        ("serviceMonitor.scrapeTimeout=10", "serviceMonitor/scrapeTimeout"),
    ],
)
def test_a_wrong_value_is_refused_and_named(helm: Helm, argument: str, named: str) -> None:
    result = helm("template", "towline", str(CHART), "--set", argument)
    assert result.returncode != 0
    assert named in result.stderr or named.replace("/", ".") in result.stderr, result.stderr


@pytest.mark.api
@pytest.mark.parametrize(
    ("arguments", "said", "unsaid"),
    [
        ("image.repository=registry.example.com/towline", "towline-data", "is found only on nodes"),
        ("namespaces={secops}", "kubectl -n secops wait integration/cisa-kev", "integration/cisa-kev -n default"),
        ("destination.secretName=warehouse,namespaces={secops}", "kubectl -n secops create secret generic warehouse",
         "SQLite"),
        ("image.repository=localhost/towline", "--set image.repository=REGISTRY/towline", "No operator"),
        ("replicas=0", "nothing is synced until there is one", "rbac.create"),
        ("rbac.create=false", "templates/rbac.yaml of the chart lists those that the account", "admissionPolicy"),
        ("crds.keep=false", "were not installed", "`helm uninstall` keeps"),
        ("admissionPolicy.enabled=false", "can use every Secret of the namespace", "have no NetworkPolicy"),
        ("networkPolicy.enabled=true", "name their namespaces in networkPolicy.syncs.namespaces", "can use every"),
        ("networkPolicy.enabled=true,namespaces={secops}", "--set egress.allow=", "have no NetworkPolicy"),
        ("egress.allow={10.0.0.0/8}", "A first Integration", "--set egress.allow="),
    ],
)  # fmt: skip
def test_the_notes_say_what_to_do_next(control_plane: Path, helm: Helm, arguments: str, said: str, unsaid: str) -> None:
    flags = ("--dry-run=client", f"--kubeconfig={control_plane}", "--set=crds.install=false", f"--set={arguments}")
    result = helm("install", "towline", str(CHART), *flags)
    assert result.returncode == 0, result.stderr
    notes = result.stdout.rpartition("\nNOTES:\n")[2]
    assert (said in notes, unsaid in notes) == (True, False), notes
