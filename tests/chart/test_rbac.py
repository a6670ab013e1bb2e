"""Who may do what once the chart is installed, asked of a real API server's authorizer."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from hack.chart import CHECKOUT
from tests.cluster.kubectl import apply, kubectl

from towline.kube.resources import WATCHED

pytestmark = pytest.mark.api

SYSTEM = "towline-system"
OPERATOR = f"system:serviceaccount:{SYSTEM}:towline"


@dataclass(frozen=True)
class Access:
    """One question to the authorizer; `resource` may name a sub-resource, namespace "" is all or none."""

    verb: str
    resource: str
    group: str = ""
    namespace: str = ""
    name: str = ""

    def review(self, user: str) -> dict[str, object]:
        resource, _, subresource = self.resource.partition("/")
        attributes = {"verb": self.verb, "resource": resource, "subresource": subresource, "group": self.group}
        return {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SubjectAccessReview",
            "spec": {
                "user": user,
                "groups": ["system:authenticated", "system:serviceaccounts"],
                "resourceAttributes": attributes | {"namespace": self.namespace, "name": self.name},
            },
        }


def allowed(control_plane: Path, user: str, questions: Iterable[Access]) -> set[Access]:
    """Those of the questions that the API server's authorizer answers with yes."""
    asked = list(questions)
    text = "---\n".join(yaml.safe_dump(each.review(user)) for each in asked)
    # kubectl prints one JSON document after the other, in the order of the questions.
    answers = kubectl(control_plane, "create", "-f", "-", "-o", "jsonpath-as-json={.status.allowed}", stdin=text)
    decisions = [decision for (decision,) in _documents(answers)]
    return {question for question, decision in zip(asked, decisions, strict=True) if decision}


def _documents(text: str) -> Iterator[list[bool]]:
    decoder = json.JSONDecoder()
    while text := text.lstrip():
        document, end = decoder.raw_decode(text)
        yield document
        text = text[end:]


def every(verbs: str, resource: str, group: str = "", namespace: str = "") -> set[Access]:
    return {Access(verb, resource, group, namespace) for verb in verbs.split()}


@pytest.fixture(scope="module")
def installed(control_plane: Path, definitions: None, render: Callable[..., str]) -> Iterator[None]:
    manifests = render("--show-only=templates/rbac.yaml", "--show-only=templates/serviceaccount.yaml")
    created = kubectl(control_plane, "create", "namespace", SYSTEM, check=False)
    apply(control_plane, manifests)
    yield
    kubectl(control_plane, "delete", "-f", "-", "--ignore-not-found", stdin=manifests)
    if "created" in created:
        kubectl(control_plane, "delete", "namespace", SYSTEM, "--wait=false")


def operator_needs(namespace: str) -> set[Access]:
    towline, batch = "towline.dev", "batch"
    return (
        every("get list watch", "integrations", towline, namespace)
        | every("get list watch create delete", "syncjobs", towline, namespace)
        | every("patch", "integrations/status", towline, namespace)
        | every("patch", "syncjobs/status", towline, namespace)
        | every("update", "integrations/finalizers", towline, namespace)
        | every("update", "syncjobs/finalizers", towline, namespace)
        | every("get list watch create delete", "jobs", batch, namespace)
        | every("list watch", "pods", "", namespace)
        | every("get", "secrets", "", namespace)
        | every("get", "configmaps", "", namespace)
        | every("get create", "persistentvolumeclaims", "", namespace)
        | every("create patch", "events", "", namespace)
    )


def lease(namespace: str) -> set[Access]:
    """The one Lease of this installation, and no other."""
    return every("create", "leases", "coordination.k8s.io", namespace) | {
        Access(verb, "leases", "coordination.k8s.io", namespace, "towline") for verb in ("get", "update")
    }


CATALOGUE = (
    every("get list watch create patch delete", "connectors", "towline.dev")
    | every("patch", "connectors/status", "towline.dev")
    | every("get", "namespaces")
    | every("create", "tokenreviews", "authentication.k8s.io")
)


def operator_must_not(namespace: str) -> set[Access]:
    return (
        every("list watch create update patch delete deletecollection", "secrets", "", namespace)
        | every("create update patch delete", "integrations", "towline.dev", namespace)
        | every("update patch", "syncjobs", "towline.dev", namespace)
        | every("update patch deletecollection", "jobs", "batch", namespace)
        | every("get create update patch delete", "pods", "", namespace)
        | every("create get", "pods/exec", "", namespace)
        | every("get", "pods/log", "", namespace)
        | every("list update patch delete", "persistentvolumeclaims", "", namespace)
        | every("create", "serviceaccounts/token", "", namespace)
        | every("create list watch", "configmaps", "", namespace)
        | every("create patch bind escalate", "roles", "rbac.authorization.k8s.io", namespace)
        | every("create patch bind escalate", "clusterroles", "rbac.authorization.k8s.io")
        | every("impersonate", "users")
        | every("impersonate", "serviceaccounts", "", namespace)
        | every("list watch create delete", "namespaces")
        | every("get list", "nodes")
        | every("update patch", "customresourcedefinitions", "apiextensions.k8s.io")
        | every("get list watch delete", "events", "", namespace)
        | every("patch delete", "validatingadmissionpolicies", "admissionregistration.k8s.io")
    )


def test_the_operator_may_do_its_work_and_nothing_else(control_plane: Path, installed: None, namespace: str) -> None:
    needed, forbidden = operator_needs(namespace) | CATALOGUE | lease(SYSTEM), operator_must_not(namespace)
    forbidden |= every("get list watch update delete", "leases", "coordination.k8s.io", "kube-system")
    granted = allowed(control_plane, OPERATOR, needed | forbidden)
    assert needed - granted == set()
    assert granted & forbidden == set()


def test_an_operator_of_listed_namespaces_reads_secrets_nowhere_else(
    control_plane: Path, definitions: None, namespace: str, render: Callable[..., str]
) -> None:
    manifests = render(f"--set=namespaces={{{namespace}}},fullnameOverride=scoped", "--show-only=templates/rbac.yaml")
    apply(control_plane, manifests)
    user = f"system:serviceaccount:{SYSTEM}:scoped"
    try:
        needed = operator_needs(namespace) | CATALOGUE | every("create patch", "events", "", "default")
        elsewhere = operator_needs("kube-system") | every("list watch", "integrations", "towline.dev")
        granted = allowed(control_plane, user, needed | elsewhere | operator_must_not(namespace))
        assert granted == needed
    finally:
        kubectl(control_plane, "delete", "-f", "-", "--ignore-not-found", stdin=manifests)


def test_secrets_may_be_watched_only_where_that_was_asked_for(
    control_plane: Path, installed: None, namespace: str, render: Callable[..., str]
) -> None:
    manifests = render("--set=rbac.watchSecrets=true,fullnameOverride=watching", "--show-only=templates/rbac.yaml")
    apply(control_plane, manifests)
    user = f"system:serviceaccount:{SYSTEM}:watching"
    try:
        asked = every("get list watch create update patch delete", "secrets", "", namespace)
        assert allowed(control_plane, user, asked) == every("get watch", "secrets", "", namespace)
    finally:
        kubectl(control_plane, "delete", "-f", "-", "--ignore-not-found", stdin=manifests)


@pytest.mark.parametrize("role", ["view", "edit", "admin"])
def test_kubernetes_own_roles_cover_integrations(
    control_plane: Path, installed: None, namespace: str, role: str
) -> None:
    kubectl(control_plane, "-n", namespace, "create", "rolebinding", role, f"--clusterrole={role}", "--user=erin")
    reads = every("get list watch", "integrations", "towline.dev", namespace)
    reads |= every("get list watch", "syncjobs", "towline.dev", namespace)
    writes = every("create update patch delete", "integrations", "towline.dev", namespace)
    writes |= every("create update patch delete", "syncjobs", "towline.dev", namespace)
    # They say which image runs and where credentials may go; and status is the operator's.
    never = every("create update patch delete", "connectors", "towline.dev")
    never |= every("update patch", "integrations/status", "towline.dev", namespace)
    expected = reads if role == "view" else reads | writes
    deadline = time.monotonic() + 30  # the controller manager aggregates roles a moment later
    while (granted := allowed(control_plane, "erin", reads | writes | never)) != expected:
        assert time.monotonic() < deadline, granted ^ expected
        time.sleep(0.2)


def test_a_team_reads_the_catalogue_where_that_is_given_and_changes_nothing_in_it(
    control_plane: Path, installed: None, render: Callable[..., str]
) -> None:
    readers = '--set-json=rbac.connectorReaders=[{"kind":"User","name":"fran"}]'
    manifests = render(readers, "--set=fullnameOverride=reading", "--show-only=templates/rbac.yaml")
    asked = every("get list watch create update patch delete", "connectors", "towline.dev")
    assert allowed(control_plane, "fran", asked) == set()
    apply(control_plane, manifests)
    try:
        assert allowed(control_plane, "fran", asked) == every("get list watch", "connectors", "towline.dev")
    finally:
        kubectl(control_plane, "delete", "-f", "-", "--ignore-not-found", stdin=manifests)


PLACES = {
    # What is listed and watched: controller/listing.py and the feed go through kube/resources.py's WATCHED.
    "list connectors integrations syncjobs jobs pods": ("controller/listing.py", r"client\.pages\(resource"),
    "watch connectors integrations syncjobs jobs pods": ("controller/feed.py", r"in BY_KIND\.items\(\)"),
    # An object whose copy in the cache proved old is read once more.
    "get connectors integrations syncjobs": ("controller/perform.py", r"client\.get\(BY_KIND\[kind\]"),
    "patch connectors/status integrations/status syncjobs/status": ("controller/perform.py", r'subresource="status"'),
    # Server-side apply of what is not there yet asks for create beside patch.
    "create patch connectors": ("controller/bundled.py", r"client\.apply\(CONNECTORS"),
    "delete connectors": ("controller/bundled.py", r"client\.delete\(CONNECTORS"),
    "create syncjobs": ("controller/perform.py", r"client\.create\(SYNCJOBS"),
    "delete syncjobs": ("controller/perform.py", r"client\.delete\(SYNCJOBS"),
    "get jobs": ("controller/snapshots.py", r"client\.get\(JOBS"),
    "create jobs": ("controller/perform.py", r"client\.create\(JOBS"),
    "delete jobs": ("controller/perform.py", r"client\.delete\(JOBS"),
    # Where OwnerReferencesPermissionEnforcement is on.
    "update integrations/finalizers syncjobs/finalizers": ("core/jobspec.py", r'"blockOwnerDeletion": True'),
    "get secrets configmaps": ("kube/secrets.py", r"client\.get\(\*self\._at\("),
    "get namespaces": ("kube/secrets.py", r"get_metadata\(NAMESPACES"),
    "get persistentvolumeclaims": ("controller/perform.py", r"client\.get\(CLAIMS"),
    "create persistentvolumeclaims": ("controller/perform.py", r"client\.create\(CLAIMS"),
    "create events": ("kube/events.py", r"client\.create\(EVENTS"),
    "patch events": ("kube/events.py", r"client\.merge\(EVENTS"),
    "create tokenreviews": ("controller/progress.py", r"client\.create\(TOKEN_REVIEWS"),
    "get leases": ("kube/lease.py", r"client\.get\(LEASES"),
    "create leases": ("kube/lease.py", r"client\.create\(\n?\s*LEASES"),
    "update leases": ("kube/lease.py", r"client\.replace\(LEASES"),
}
VERBS = {"get", "list", "watch", "create", "update", "patch", "delete"}


def test_there_is_no_right_without_the_place_that_uses_it(render: Callable[..., str]) -> None:
    aggregated = ("-view", "-edit")
    given = {
        (verb, resource)
        for role in yaml.safe_load_all(render("--show-only=templates/rbac.yaml"))
        if role and role["kind"] in ("ClusterRole", "Role") and not role["metadata"]["name"].endswith(aggregated)
        for rule in role["rules"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }
    used = set()
    for words, (file, pattern) in PLACES.items():
        assert re.search(pattern, (CHECKOUT / "operator" / "towline" / file).read_text()), f"{file} no longer has it"
        verbs = [word for word in words.split() if word in VERBS]
        used |= {(verb, resource) for resource in words.split() if resource not in VERBS for verb in verbs}
    assert given == used
    assert {resource.plural for resource in WATCHED} == {resource for verb, resource in used if verb == "watch"}
