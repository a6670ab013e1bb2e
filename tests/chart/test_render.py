"""What the chart makes of its values, and that a real API server accepts it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from hack.chart import CHART, stale_files
from tests.chart.rendered import VALUES, Helm, Render, objects, only
from tests.chart.schemas import VERSIONS, kubeconform
from tests.cluster.kubectl import kubectl


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


def test_definitions_outlive_the_release_unless_asked_otherwise(render: Render) -> None:
    def policies(*arguments: str) -> set[str | None]:
        return {
            each["metadata"].get("annotations", {}).get("helm.sh/resource-policy")
            for each in objects(render(*arguments))
            if each["kind"] == "CustomResourceDefinition"
        }

    assert policies() == {"keep"}
    assert policies("--set=crds.keep=false") == {None}


def test_nothing_secret_is_listed_or_watched_by_any_role(render: Render) -> None:
    for arguments in ([], ["--set=namespaces={a,b}"]):
        for each in objects(render(*arguments)):
            for rule in each.get("rules", []):
                if "secrets" in rule["resources"] or "*" in rule["resources"]:
                    assert rule["verbs"] == ["get"], each["metadata"]["name"]
