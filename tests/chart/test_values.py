"""Values are explained, checked and carried over, and the notes say what to do next."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from hack.chart import CHART, values
from tests.chart.rendered import Helm, Render, only
from tests.node.previous import previous_chart


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
