"""`towline check`: is the cluster ready for Towline, and is Towline well on it?"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Literal

import click

from towline.cli import cluster
from towline.cli.cluster import Cluster, time_limit
from towline.cli.errors import FORBIDDEN, TIMED_OUT, CliError
from towline.cli.output import print_json, program, say
from towline.cli.status import relative
from towline.cli.verdict import condition

KINDS = ("connectors", "integrations", "syncjobs")
LEAST_KUBERNETES = (1, 31)  # podFailurePolicy is stable and selectable fields of own kinds are there
SELECTOR = {"labelSelector": "app.kubernetes.io/name=towline,app.kubernetes.io/component=operator"}
_MARKS = {"fine": "✔", "problem": "✗", "unknown": "!"}


UNSEEN = "not checked"


@dataclass(frozen=True, slots=True)
class Finding:
    about: str
    verdict: Literal["fine", "problem", "unknown"]
    text: str
    cure: str = ""


@click.command()
@click.option("--pre", is_flag=True, help="Before the installation: only what the cluster has to offer.")
@click.option("--wait", metavar="DURATION", help="Look again until all is well, for at most so long, as 2m.")
@click.option("-o", "--output", type=click.Choice(["text", "json"]), default="text", show_default=True)
@cluster.options
def check(
    pre: bool, wait: str | None, output: str, kubeconfig: str | None, context: str | None, namespace: str | None
) -> None:
    """Tell whether the cluster is ready for Towline (--pre), or whether the installation is sound.

    Exit codes: 0 all is well, 1 something is not, 3 something still is not after --wait, 4 you may not look at all
    of it.
    """
    limit = time_limit("--wait", wait) if wait else 0
    connection = cluster.connect(kubeconfig, context, namespace)
    checks: list[Callable[[Cluster], Iterator[Finding]]] = [kubernetes, rights]
    if not pre:
        checks = [kubernetes, definitions, operators, lease, connectors, integrations]
    findings: list[Finding] = []
    if limit:
        _wait(connection, checks, limit)
    for each in checks:
        found = list(_careful(each, connection))
        findings += found
        if output == "text":
            for finding in found:
                say(_MARKS[finding.verdict], f"{finding.about}: {finding.text}")
                if finding.cure:
                    say(" ", f"  {finding.cure}")
    if output == "json":
        print_json([asdict(finding) for finding in findings])
    if any(finding.verdict == "problem" for finding in findings):
        raise click.exceptions.Exit(TIMED_OUT if limit else 1)
    unseen = [finding.about for finding in findings if finding.text.startswith(UNSEEN)]
    if unseen:
        if output == "text":
            say("!", f"Nothing wrong was found, but you may not look at: {', '.join(unseen)}.")
        raise click.exceptions.Exit(FORBIDDEN)
    if output == "text":
        say("✔", "The cluster is ready: helm install towline charts/towline" if pre else "Towline is well.")


def _wait(connection: Cluster, checks: list[Callable[[Cluster], Iterator[Finding]]], limit: int) -> None:
    """Until nothing is wrong any more, or the time is over."""
    end = time.monotonic() + limit
    while time.monotonic() < end:
        found: list[Finding] = []
        with suppress(CliError):  # the API server may be on its way up
            found = [finding for each in checks for finding in _careful(each, connection)]
        if found and not any(finding.verdict == "problem" for finding in found):
            return
        time.sleep(min(2.0, max(0.0, end - time.monotonic())))


def kubernetes(connection: Cluster) -> Iterator[Finding]:
    """The server's version."""
    found = connection.read("/version") or {}
    text = str(found.get("gitVersion", "of unknown version"))
    numbers = (int("".join(filter(str.isdigit, found.get("major", "0"))) or 0),
               int("".join(filter(str.isdigit, found.get("minor", "0"))) or 0))  # fmt: skip
    if numbers < LEAST_KUBERNETES:
        yield Finding("Kubernetes", "problem", f"{text}, Towline needs 1.31 or later", "Upgrade the cluster.")
    else:
        yield Finding("Kubernetes", "fine", text)


def rights(connection: Cluster) -> Iterator[Finding]:
    """Whether the user may install the chart."""
    wanted = (
        ("apiextensions.k8s.io", "customresourcedefinitions"),
        ("rbac.authorization.k8s.io", "clusterroles"),
        ("rbac.authorization.k8s.io", "clusterrolebindings"),
        ("admissionregistration.k8s.io", "validatingadmissionpolicies"),
        ("apps", "deployments"),
    )
    missing = [resource for group, resource in wanted if not connection.may("create", group, resource)]
    if missing:
        cure = "Let an administrator of the cluster install the chart."
        yield Finding("Your rights", "problem", f"you may not create {', '.join(missing)}", cure)
    else:
        yield Finding("Your rights", "fine", "you may install the chart")
    served = connection.read("/apis/admissionregistration.k8s.io/v1")
    names = {item["name"] for item in (served or {}).get("resources") or []}
    if "validatingadmissionpolicies" not in names:
        cure = "Install with admissionPolicy.enabled=false, and let only those write Integrations who may read Secrets."
        yield Finding("Admission policies", "problem", "the API server does not serve them", cure)
    else:
        yield Finding("Admission policies", "fine", "served")


def definitions(connection: Cluster) -> Iterator[Finding]:
    """The three kinds, established."""
    for plural in KINDS:
        path = f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{plural}.towline.dev"
        found = connection.read(path)
        established = found and condition(found, "Established")
        if not found:
            yield Finding(plural, "problem", "the kind is not installed", "helm install with crds.install=true")
        elif not established or established["status"] != "True":
            yield Finding(plural, "problem", "the kind is not served yet", f"kubectl describe crd {plural}.towline.dev")
        else:
            served = [each["name"] for each in found["spec"]["versions"] if each.get("served")]
            yield Finding(plural, "fine", f"served as {', '.join(served)}")


def operators(connection: Cluster) -> Iterator[Finding]:
    """The operator's Deployments and the version of their image."""
    found = (connection.read("/apis/apps/v1/deployments", SELECTOR) or {}).get("items") or []
    if not found:
        cure = "helm install towline charts/towline -n towline-system --create-namespace"
        yield Finding("Operator", "problem", "there is no Deployment of it", cure)
    elif len(found) > 1:
        places = ", ".join(item["metadata"]["namespace"] for item in found)
        yield Finding("Operator", "unknown", f"{len(found)} installations ({places})",
                      "Each has to look after namespaces of its own: values.namespaces.")  # fmt: skip
    ours = version("towline")
    for item in found:
        where = f"{item['metadata']['namespace']}/{item['metadata']['name']}"
        wanted = item["spec"].get("replicas", 1)
        ready = (item.get("status") or {}).get("readyReplicas", 0)
        theirs = (item["metadata"].get("labels") or {}).get("app.kubernetes.io/version", "")
        if ready < max(wanted, 1):
            cure = f"kubectl -n {item['metadata']['namespace']} describe deployment {item['metadata']['name']}"
            yield Finding("Operator", "problem", f"{where}: {ready} of {wanted} pods are ready", cure)
        elif theirs and theirs != ours:
            yield Finding("Operator", "unknown", f"{where}: version {theirs}, this command is {ours}",
                          "They should be of one version: the checks of `validate` may differ.")  # fmt: skip
        else:
            yield Finding("Operator", "fine", f"{where}: {ready} of {wanted} pods are ready, version {theirs or ours}")


def lease(connection: Cluster) -> Iterator[Finding]:
    """Who leads, and whether the Lease is renewed."""
    for item in (connection.read("/apis/apps/v1/deployments", SELECTOR) or {}).get("items") or []:
        namespace, name = item["metadata"]["namespace"], item["metadata"]["name"]
        found = connection.read(f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases/{name}")
        spec = (found or {}).get("spec") or {}
        if not spec.get("holderIdentity"):
            yield Finding(
                "Leader", "problem", f"nobody leads in {namespace}", f"kubectl -n {namespace} logs deploy/{name}"
            )
            continue
        now = datetime.now(UTC)
        age = (now - datetime.fromisoformat(spec["renewTime"])).total_seconds()
        renewed = relative(spec["renewTime"], now)
        if age > 2 * spec.get("leaseDurationSeconds", 15):
            cure = f"kubectl -n {namespace} logs -l app.kubernetes.io/name=towline"
            yield Finding("Leader", "problem", f"{spec['holderIdentity']} renewed its Lease {renewed}", cure)
        else:
            yield Finding("Leader", "fine", f"{spec['holderIdentity']}, Lease renewed {renewed}")


def connectors(connection: Cluster) -> Iterator[Finding]:
    """The catalogue on the cluster."""
    found = (connection.read("/apis/towline.dev/v1alpha1/connectors") or {}).get("items") or []
    broken = [item["metadata"]["name"] for item in found if (condition(item, "Ready") or {}).get("status") == "False"]
    if not found:
        yield Finding("Connectors", "problem", "there are none", "The operator applies the bundled ones: see its log.")
    elif broken:
        cure = f"kubectl describe connectors.towline.dev {broken[0]}"
        yield Finding("Connectors", "problem", f"{', '.join(broken)} cannot be used", cure)
    else:
        yield Finding("Connectors", "fine", f"{len(found)} ready")


def integrations(connection: Cluster) -> Iterator[Finding]:
    """How the fleet is doing; a failing Integration is no fault of the installation."""
    found = connection.list("integrations", all_namespaces=True)
    ready = sum((condition(item, "Ready") or {}).get("status") == "True" for item in found)
    text = f"{ready} of {len(found)} ready" if found else "none yet"
    well = ready == len(found)
    yield Finding("Integrations", "fine" if well else "unknown", text, "" if well else f"{program()} status -A")


def _careful(each: Callable[[Cluster], Iterator[Finding]], connection: Cluster) -> Iterator[Finding]:
    """What may not be read is told, and the rest is checked all the same."""
    try:
        yield from each(connection)
    except CliError as error:
        if error.exit_code != FORBIDDEN:
            raise
        yield Finding(each.__name__.capitalize(), "unknown", f"{UNSEEN}: {error}")
