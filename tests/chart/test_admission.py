"""An Integration may only name Secrets that its author may get: tried with real users on a real API server."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic.alias_generators import to_camel
from tests.cluster.kubectl import apply, kubectl

from towline.api.integration import IntegrationSpec

pytestmark = pytest.mark.api

POLICY = "integration-secrets.towline.dev"
# Fields that can be changed without the right to read the Secrets of the Integration.
HARMLESS = {
    "suspend",
    "schedule",
    "concurrencyPolicy",
    "retry",
    "successfulSyncsHistoryLimit",
    "failedSyncsHistoryLimit",
}

SPECS: dict[str, dict[str, Any]] = {
    "spec.credentials.secretRef": {"credentials": {"secretRef": {"name": "hidden"}}},
    "spec.proxySecretRef": {"proxySecretRef": {"name": "hidden"}},
    "spec.destinationSecretRef": {"destinationSecretRef": {"name": "hidden"}},
    "spec.webhook.secretRef": {"webhook": {"secretRef": {"name": "hidden"}}},
    "spec.caBundleRef": {"caBundleRef": {"kind": "Secret", "name": "hidden", "key": "ca.crt"}},
}


@dataclass(frozen=True)
class Author:
    """The user `author`, who may write Integrations and get one Secret, `own`."""

    kubeconfig: Path
    namespace: str

    def apply(self, name: str, spec: dict[str, Any], *options: str) -> str:
        manifest = {
            "apiVersion": "towline.dev/v1alpha1",
            "kind": "Integration",
            "metadata": {"name": name, "namespace": self.namespace},
            "spec": {"connectorRef": {"name": "some"}} | spec,
        }
        return self.kubectl("apply", *options, "-f", "-", stdin=yaml.safe_dump(manifest))

    def kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        return kubectl(self.kubeconfig, "--as=author", "-n", self.namespace, *arguments, stdin=stdin, check=False)


@pytest.fixture(scope="module")
def policy(control_plane: Path, definitions: None, render: Callable[..., str]) -> Iterator[None]:
    manifests = render("--show-only=templates/admission.yaml")
    apply(control_plane, manifests)
    yield
    kubectl(control_plane, "delete", "-f", "-", "--ignore-not-found", stdin=manifests)


@pytest.fixture
def author(control_plane: Path, policy: None, namespace: str) -> Author:
    role = ["-n", namespace, "create", "role"]
    writes = "--verb=get,create,update,patch"
    kubectl(control_plane, *role, "writes-integrations", writes, "--resource=integrations.towline.dev")
    kubectl(control_plane, *role, "reads-own", "--verb=get", "--resource=secrets", "--resource-name=own")
    for name in ("writes-integrations", "reads-own"):
        kubectl(control_plane, "-n", namespace, "create", "rolebinding", name, f"--role={name}", "--user=author")
    found = Author(control_plane, namespace)
    # A policy takes effect some moments after it is written.
    deadline = time.monotonic() + 30
    named = SPECS["spec.credentials.secretRef"]
    while "which author may not get" not in (said := found.apply("probe", named, "--dry-run=server")):
        assert time.monotonic() < deadline, f"the policy did not take effect: {said}"
        time.sleep(0.2)
    return found


@pytest.mark.parametrize("field", SPECS)
def test_a_secret_that_the_author_may_not_get_is_refused(author: Author, field: str) -> None:
    said = author.apply("refused", SPECS[field])
    assert (
        f'{field} names Secret "hidden", which author may not get in namespace "{author.namespace}"; '
        "an Integration may only name Secrets that its author may get" in said
    )


def test_a_secret_that_the_author_may_get_is_accepted(author: Author) -> None:
    assert "created" in author.apply("mine", {"credentials": {"secretRef": {"name": "own"}}})


def test_an_integration_without_any_secret_is_accepted(author: Author) -> None:
    said = author.apply("public", {"credentials": {"source": "None"}})
    said += author.apply("bundle", {"caBundleRef": {"kind": "ConfigMap", "name": "hidden", "key": "ca.crt"}})
    assert said.count("created") == 2, said


def test_every_reference_at_once_stays_within_the_cost_that_a_policy_may_have(author: Author) -> None:
    everything = {key: value for spec in SPECS.values() for key, value in spec.items()}
    allowed = yaml.safe_load(yaml.safe_dump(everything).replace("hidden", "own"))
    assert "created" in author.apply("everything", allowed)


def test_pointing_an_integration_at_another_secret_is_judged_again(author: Author) -> None:
    author.apply("moved", {"credentials": {"secretRef": {"name": "own"}}})
    assert "which author may not get" in author.apply("moved", {"credentials": {"secretRef": {"name": "hidden"}}})


@pytest.fixture
def foreign(author: Author) -> Author:
    """An Integration `foreign` that an administrator made, with a Secret that the author may not get."""
    manifest = {
        "apiVersion": "towline.dev/v1alpha1",
        "kind": "Integration",
        "metadata": {"name": "foreign", "namespace": author.namespace},
        "spec": {"connectorRef": {"name": "some"}, "config": {"url": "https://a.example"}}
        | SPECS["spec.credentials.secretRef"],
    }
    apply(author.kubeconfig, yaml.safe_dump(manifest))
    return author


def test_whoever_may_not_read_the_credentials_cannot_send_them_elsewhere(foreign: Author) -> None:
    patch = '{"spec":{"config":{"url":"https://evil.example"}}}'
    assert "which author may not get" in foreign.kubectl("patch", "intg/foreign", "--type=merge", "-p", patch)
    patch = '{"spec":{"destinationSecretRef":{"name":"own"}}}'
    assert "which author may not get" in foreign.kubectl("patch", "intg/foreign", "--type=merge", "-p", patch)


@pytest.mark.parametrize(
    "arguments",
    [
        ["label", "intg/foreign", "team=red"],
        ["annotate", "intg/foreign", "towline.dev/requested-at=now"],
        ["patch", "intg/foreign", "--type=merge", "-p", '{"metadata":{"finalizers":["example.com/kept"]}}'],
        ["patch", "intg/foreign", "--type=merge", "-p", '{"spec":{"suspend":true}}'],
        ["patch", "intg/foreign", "--type=merge", "-p", '{"spec":{"schedule":{"interval":"1h"}}}'],
    ],
    ids=["label", "request", "finalizer", "suspend", "schedule"],
)
def test_a_change_that_sends_no_secret_anywhere_needs_no_right_to_it(foreign: Author, arguments: list[str]) -> None:
    said = foreign.kubectl(*arguments)
    assert "may not get" not in said
    assert any(word in said for word in ("labeled", "annotated", "patched")), said
    clean = ["patch", "intg/foreign", "--type=merge", "-p", '{"metadata":{"finalizers":null}}']
    kubectl(foreign.kubeconfig, "-n", foreign.namespace, *clean)


def test_every_field_of_the_spec_is_either_guarded_or_known_to_be_harmless(render: Callable[..., str]) -> None:
    policy = next(iter(yaml.safe_load_all(render("--show-only=templates/admission.yaml"))))
    (condition,) = policy["spec"]["matchConditions"]
    fields = {field.alias or to_camel(name) for name, field in IntegrationSpec.model_fields.items()}
    unguarded = {field for field in fields if f"object.spec.?{field} ==" not in condition["expression"]}
    assert unguarded == HARMLESS


def test_the_api_server_finds_no_type_error_in_the_policy(control_plane: Path, policy: None) -> None:
    deadline = time.monotonic() + 30
    path = "{.status.observedGeneration} {.status.typeChecking.expressionWarnings}"
    while not (said := kubectl(control_plane, "get", "validatingadmissionpolicy", POLICY, "-o", f"jsonpath={path}")):
        assert time.monotonic() < deadline
        time.sleep(0.2)
    assert said.split(" ", 1)[1:] in ([], [""]), said
