"""`towline why`: the chain from an Integration to the reason that it is not ready, and what to do."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import click

from towline.cli import chain, cluster, completing
from towline.cli.errors import NOT_READY
from towline.cli.output import print_json, program, prose
from towline.cli.status import headlines, relative
from towline.cli.tree import pod_trouble
from towline.cli.verdict import Verdict, condition, judge

# What a person does about each reason, beyond what the condition's message says. {n} is the namespace, {i} the
# Integration, {s} the Secret, {c} the Connector, {f} the sync that failed. For all else that ends a sync its log tells.
CURES = {
    "SecretNotFound": "kubectl -n {n} create secret generic {s} --from-literal=KEY=VALUE …   (keys: {p} explain {c})",
    "KeyMissing": "kubectl -n {n} edit secret {s}   (keys: {p} explain {c})",
    "CredentialsRejected": "kubectl -n {n} edit secret {s}   Towline notices and tries by itself.",
    "HostNotAllowed": "kubectl -n {n} annotate secret {s} towline.dev/allowed-hosts=HOST --overwrite",
    "AddressNotAllowed": "An administrator opens it: egress.allow in the chart's values; then: {p} sync {i} -n {n}",
    "ConnectorNotFound": "kubectl get connectors.towline.dev",
    "ConnectorInvalid": "kubectl describe connectors.towline.dev {c}",
    "InvalidSpec": "kubectl -n {n} edit integrations.towline.dev {i}",
    "InvalidSchedule": "kubectl -n {n} edit integrations.towline.dev {i}",
    "UnknownTimeZone": "kubectl -n {n} edit integrations.towline.dev {i}",
    "PolicyViolation": "If it is meant: {p} sync {i} -n {n}",
    "ConfigInvalid": "kubectl -n {n} edit integrations.towline.dev {i}",
    "OutOfMemory": "kubectl -n {n} edit integrations.towline.dev {i}   (spec.job.resources.limits.memory)",
    "DeadlineExceeded": "kubectl -n {n} edit integrations.towline.dev {i}   (spec.job.activeDeadlineSeconds)",
    "PermissionDenied": "Give the credentials the right at the vendor ({p} explain {c}), then: {p} sync {i} -n {n}",
}


@click.command()
@click.argument("name", shell_complete=completing.integrations)
@click.option("-o", "--output", type=click.Choice(["text", "json"]), default="text", show_default=True)
@cluster.options
def why(name: str, output: str, kubeconfig: str | None, context: str | None, namespace: str | None) -> None:
    """Tell why the Integration NAME is as it is: each link of the chain, and what to do.

    Exit codes: 0 it is ready, although its last sync may have failed; 1 not possible, 2 not ready, 4 forbidden.
    """
    connection = cluster.connect(kubeconfig, context, namespace)
    found = chain.gather(connection, name)
    now = datetime.now(UTC)
    verdict = judge(found.integration, found.syncs)
    links = explain(found, now, chain.obstacle(found, connection))
    cure = cure_of(found, verdict)
    if output == "json":
        told = [{"link": link, "finding": finding} for link, finding in links]
        summary = {"ready": verdict.status == "True", "reason": verdict.reason, "message": verdict.message}
        print_json({**summary, "failing": _failing(verdict), "chain": told, "cure": cure})
    else:
        click.echo("\n".join(headlines(verdict, f"{connection.namespace}/{name}", now)) + "\n")
        width = max(len(link) for link, _ in links)
        for link, finding in links:
            click.echo(prose(finding, 4, f"{link.ljust(width)}  "))
        if cure:
            click.echo(f"\n  Do: {cure}")
    if verdict.status != "True":
        raise click.exceptions.Exit(NOT_READY)


def explain(found: chain.Chain, now: datetime, obstacle: str) -> list[tuple[str, str]]:
    """Each link of the chain and what is to be said of it."""
    spec, status = found.integration["spec"], found.integration.get("status") or {}
    links = [("Integration", _integration(spec, status, found.behind, obstacle))]
    name = spec["connectorRef"]["name"]
    if found.connector is not None:
        ready = condition(found.connector, "Ready") or {"reason": "not looked at yet", "message": ""}
        version = found.connector["spec"].get("version", "")
        trouble = f": {ready['message']}" if ready.get("status") != "True" else ""
        links.append(("Connector", f"{name} {version}, {ready['reason']}{trouble}"))
    else:
        links.append(("Connector", f"{name}: {_absent(found, 'the Connector')}"))
    if found.secret is not None:
        changed = _changed(found.secret["metadata"])
        lasting = f", changed {relative(changed, now)}" if changed else ""
        links.append(
            ("Secret", f"{found.secret_name} found, keys {', '.join(found.secret['keys']) or 'none'}{lasting}")
        )
    elif found.secret_name:
        links.append(("Secret", f"{found.secret_name}: {_absent(found, 'the Secret')}"))
    known = [(kind, condition(found.integration, kind)) for kind in ("CredentialsValid", "Healthy", "Fresh")]
    links += [(kind, f"{entry['status']}, {entry['reason']}: {entry['message']}") for kind, entry in known if entry]
    if found.syncs:
        links += _newest(found, found.syncs[0], now)
    else:
        links.append(("SyncJob", "none yet"))
    return links


def cure_of(found: chain.Chain, verdict: Verdict) -> str:
    """The command that helps, or nothing where the condition's message has it all."""
    metadata, spec = found.integration["metadata"], found.integration["spec"]
    failed = verdict.trouble.sync if verdict.trouble else ""
    text = CURES.get(verdict.cause, "")
    if verdict.trouble is not None and not text:
        kept = any(found.jobs_of(sync) for sync in found.syncs if sync["metadata"]["name"] == failed)
        text = "{p} logs {f} -n {n}" if kept else "{p} events {i} -n {n}"
    return text.format(
        n=metadata["namespace"], i=metadata["name"], s=found.secret_name or "SECRET", p=program(), f=failed,
        c=spec["connectorRef"]["name"],
    )  # fmt: skip


def _failing(verdict: Verdict) -> dict[str, str | None] | None:
    if verdict.trouble is None:
        return None
    found = verdict.trouble
    return {"sync": found.sync, "reason": found.reason, "message": found.message, "nextAttemptTime": found.following}


def _integration(spec: dict[str, Any], status: dict[str, Any], behind: bool, obstacle: str) -> str:
    said = [status.get("effectiveSchedule") or "no schedule: only on request"]
    if spec.get("suspend"):
        said.insert(0, "suspended")
    if failures := status.get("consecutiveFailures"):
        said.append(f"{failures} failed in a row")
    if behind:
        said.append(f"its newest change has not been dealt with: {obstacle or 'is the operator running?'}")
    return ", ".join(said)


def _newest(found: chain.Chain, sync: chain.Object, now: datetime) -> list[tuple[str, str]]:
    entry = condition(sync, "Succeeded") or {"reason": "Pending", "message": "The operator has not looked at it yet."}
    age = relative(sync["metadata"]["creationTimestamp"], now)
    links = [("SyncJob", f"{sync['metadata']['name']}, {age}, {entry['reason']}: {entry['message']}")]
    following = (sync.get("status") or {}).get("nextAttemptTime")
    if following and not (sync.get("status") or {}).get("completionTime"):
        links.append(("Next attempt", relative(following, now)))
    for job in found.jobs_of(sync)[-1:]:
        for pod in found.pods_of(job)[-1:]:
            trouble = pod_trouble(pod)
            phase = (pod.get("status") or {}).get("phase", "Unknown")
            links.append(("Pod", f"{pod['metadata']['name']}, {phase}{': ' + trouble if trouble else ''}"))
    return links


def _absent(found: chain.Chain, what: str) -> str:
    return "you may not read it" if what in found.unseen else "there is none of this name"


def _changed(metadata: dict[str, Any]) -> str | None:
    """When the object was last written, as far as its managed fields tell."""
    times = [entry["time"] for entry in metadata.get("managedFields") or [] if entry.get("time")]
    return max(times, default=None)
