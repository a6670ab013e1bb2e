"""Which image runs where, from which registry, and what syncs' pods are given."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml
from hack.chart import CHART
from tests.chart.rendered import VALUES, Render, only


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


def test_the_chart_of_a_release_runs_the_image_of_that_release(render: Render) -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    (container,) = only(render(), "Deployment")["spec"]["template"]["spec"]["containers"]
    assert container["image"].endswith(f":{chart['appVersion']}")
