"""The GitOps examples: kustomize builds them, Towline accepts them, and Argo CD's health checks say what is true."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from hack.chart import CHECKOUT
from lupa import lua51  # Argo CD runs Lua 5.1
from tests.cluster.kubectl import find_kubectl, kubectl
from tests.cluster.modules import module_folder
from tests.node.installation import until

from towline.cli.checking import check
from towline.cli.manifests import parse

GITOPS = CHECKOUT / "examples" / "gitops"
HEALTH = yaml.safe_load((GITOPS / "argocd" / "argocd-cm.yaml").read_text())["data"]


def problems(text: str) -> list[str]:
    return [problem for finding in check(parse(text.encode(), "gitops")) for problem in finding.problems]


def built(overlay: str) -> str:
    command = [str(find_kubectl()), "kustomize", str(GITOPS / "kustomize" / "overlays" / overlay)]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout


@pytest.mark.api
@pytest.mark.parametrize(
    ("overlay", "namespace", "host"),
    [
        ("staging", "secops-staging", "acme-dev.service-now.com"),
        ("production", "secops", "acme.service-now.com"),
    ],
)
def test_each_environment_is_valid_and_its_own(overlay: str, namespace: str, host: str) -> None:
    text = built(overlay)
    assert problems(text) == []
    found = {item["metadata"]["name"]: item for item in yaml.safe_load_all(text)}
    assert {item["metadata"]["namespace"] for item in found.values()} == {namespace}
    assert found["servicenow"]["spec"]["config"]["host"] == host
    assert found["kev"]["spec"].get("suspend", False) is (overlay == "staging")


@pytest.mark.api
def test_nothing_drifts_between_two_applies(control_plane: Path, definitions: None, namespace: str) -> None:
    text = built("production").replace("namespace: secops", f"namespace: {namespace}")
    for how in (["apply"], ["apply", "--server-side"]):
        kubectl(control_plane, *how, "-f", "-", stdin=text)
        again = kubectl(control_plane, *how, "-f", "-", stdin=text).splitlines()
        wanted = "serverside-applied" if "--server-side" in how else "unchanged"
        assert [line.rpartition(" ")[2] for line in again] == [wanted] * 2
        # kubectl's exit code says whether there is a difference.
        flags = how[1:]
        assert kubectl(control_plane, "diff", *flags, "-f", "-", stdin=text) == ""
    after = generations(control_plane, namespace)
    assert after == {"kev": 1, "servicenow": 1}, "an apply of what is there changed a spec"


def generations(control_plane: Path, namespace: str) -> dict[str, int]:
    found = json.loads(kubectl(control_plane, "-n", namespace, "get", "integrations", "-o", "json"))["items"]
    return {each["metadata"]["name"]: each["metadata"]["generation"] for each in found}


FOREIGN = {
    "argocd/application.yaml": (
        ("github.com/argoproj/argo-cd/v3", "v3.2.1", "h1:rvrkW/JdH4V+xJgNDZI9wa/Ygd+fWoGbd1rAhvno22c="),
        "manifests/crds/application-crd.yaml",
    ),
    "external-secrets/servicenow.yaml": (
        ("github.com/external-secrets/external-secrets", "v1.3.2", "h1:u2J8RjlHIeF0oZCqtl92adI/uZWUwOesJIDkfql6LqQ="),
        "config/crds/bases/external-secrets.io_externalsecrets.yaml",
    ),
}


@pytest.mark.api
@pytest.mark.parametrize("example", FOREIGN)
def test_the_definitions_of_other_projects_accept_our_examples(
    control_plane: Path, namespace: str, example: str
) -> None:
    module, path = FOREIGN[example]
    definition = module_folder(*module) / path
    kubectl(control_plane, "apply", "--server-side", "--force-conflicts", "-f", str(definition))
    try:
        # A moment after its creation it has no conditions yet, and kubectl does not wait for those.
        established = ["wait", "--for=condition=Established", "--timeout=60s", "-f", str(definition)]
        until(lambda: "condition met" in kubectl(control_plane, *established, check=False), 60)
        item = yaml.safe_load((GITOPS / example).read_text())
        item["metadata"]["namespace"] = namespace
        kubectl(control_plane, "create", "--dry-run=server", "--validate=strict", "-f", "-", stdin=yaml.safe_dump(item))
        item["spec"]["unheardOf"] = 1
        said = kubectl(
            control_plane, "create", "--dry-run=server", "--validate=strict", "-f", "-", stdin=yaml.safe_dump(item),
            check=False,
        )  # fmt: skip
        assert 'unknown field "spec.unheardOf"' in said, "the definition refuses nothing"
    finally:
        kubectl(control_plane, "delete", "--ignore-not-found", "-f", str(definition))


@pytest.mark.parametrize("file", sorted(GITOPS.glob("**/*.yaml")), ids=lambda path: str(path.relative_to(GITOPS)))
def test_every_file_is_yaml_and_its_integrations_are_valid(file: Path) -> None:
    if file.name == "kustomization.yaml" and "kustomize.config" in file.read_text():
        assert yaml.safe_load(file.read_text())["kind"] == "Kustomization"
        return
    assert problems(file.read_text()) == []


def judged(kind: str, item: dict[str, Any]) -> tuple[str, str]:
    """Status and message that Argo CD would show."""
    runtime = lua51.LuaRuntime()
    script = runtime.eval(f"function(obj) {HEALTH[f'resource.customizations.health.towline.dev_{kind}']} end")
    found = script(runtime.table_from(item, recursive=True))
    return found["status"], found["message"]


def integration(*conditions: tuple[str, str, str], seen: int = 3, **spec: Any) -> dict[str, Any]:
    listed = [{"type": t, "status": s, "reason": r, "message": "so it is"} for t, s, r in conditions]
    return {
        "metadata": {"generation": 3},
        "spec": spec,
        "status": {"observedGeneration": seen, "conditions": listed},
    }


@pytest.mark.parametrize(
    ("item", "status", "message"),
    [
        ({"metadata": {"generation": 1}, "spec": {}}, "Progressing", "not looked at it yet"),
        (integration(("Ready", "True", "Synced"), seen=2), "Progressing", "not looked at it yet"),
        (integration(("Ready", "Unknown", "AwaitingFirstSync")), "Progressing", "AwaitingFirstSync: so it is"),
        (integration(("Ready", "True", "Synced")), "Healthy", "Synced: so it is"),
        (integration(("Ready", "False", "SyncFailed")), "Degraded", "SyncFailed: so it is"),
        (
            integration(("Ready", "Unknown", "Pending"), ("Stalled", "True", "SecretNotFound")),
            "Degraded",
            "SecretNotFound: so it is",
        ),
        (integration(("Ready", "True", "Synced"), suspend=True), "Suspended", "spec.suspend is set"),
    ],
)
def test_argo_cd_understands_an_integration(item: dict[str, Any], status: str, message: str) -> None:
    found, said = judged("Integration", item)
    assert (found, message in said) == (status, True), said


@pytest.mark.parametrize(
    ("status", "wanted"), [("True", "Healthy"), ("False", "Degraded"), ("Unknown", "Progressing"), ("", "Progressing")]
)
def test_argo_cd_understands_a_syncjob(status: str, wanted: str) -> None:
    conditions = [{"type": "Succeeded", "status": status, "reason": "R", "message": "m"}] if status else []
    assert judged("SyncJob", {"status": {"conditions": conditions}})[0] == wanted


@pytest.mark.parametrize(("status", "wanted"), [("True", "Healthy"), ("False", "Degraded")])
def test_argo_cd_understands_a_connector(status: str, wanted: str) -> None:
    item = integration(("Ready", status, "R"))
    assert judged("Connector", item)[0] == wanted
    assert judged("Connector", {**item, "metadata": {"generation": 4}})[0] == "Progressing"
