"""`towline tree`: an Integration with all that hangs on it, each with its state."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from typing import Any

import click

from towline.cli import chain, cluster, completing
from towline.cli.output import print_json, say, table, terminal_width
from towline.cli.status import brief, relative
from towline.cli.verdict import condition, judge


@click.command()
@click.argument("name", shell_complete=completing.integrations)
@click.option("-o", "--output", type=click.Choice(["text", "json"]), default="text", show_default=True)
@cluster.options
def tree(name: str, output: str, kubeconfig: str | None, context: str | None, namespace: str | None) -> None:
    """Show the Integration NAME with its Connector, Secret, SyncJobs, Jobs and pods."""
    found = chain.gather(cluster.connect(kubeconfig, context, namespace), name)
    rows = entries(found, datetime.now(UTC))
    if output == "json":
        print_json([dict(zip(("depth", "object", "state", "age", "message"), row, strict=True)) for row in rows])
    else:
        shown = [[_branch(row[0]) + row[1], *row[2:]] for row in rows]
        headers = ["object", "state", "age", "message"]
        click.echo(table(headers, shown, width=terminal_width(sys.stdout), whole=2, prose=True, spare=("age",)))
    if found.unseen:
        say("!", f"You may not read {', '.join(found.unseen)} here: not shown.")


def entries(found: chain.Chain, now: datetime) -> list[tuple[int, str, str, str, str]]:
    """Depth, object, state, age and message, top down."""
    integration = found.integration
    whole = judge(integration, found.syncs)
    age = relative(integration["metadata"]["creationTimestamp"], now)
    rows = [(0, f"Integration/{integration['metadata']['name']}", whole.reason, age, brief(whole))]
    reference = integration["spec"]["connectorRef"]["name"]
    if found.connector is not None:
        rows.append((1, f"Connector/{reference}", *_sum(found.connector, "Ready", now)))
    elif "the Connector" not in found.unseen:
        rows.append((1, f"Connector/{reference}", "Missing", "", "There is no Connector of this name."))
    if found.secret is not None:
        age = relative(found.secret["metadata"]["creationTimestamp"], now)
        rows.append((1, f"Secret/{found.secret_name}", "Found", age, f"keys {', '.join(found.secret['keys'])}"))
    elif found.secret_name and "the Secret" not in found.unseen:
        rows.append((1, f"Secret/{found.secret_name}", "Missing", "", "There is no Secret of this name."))
    for sync in found.syncs:
        rows.append((1, f"SyncJob/{sync['metadata']['name']}", *_sum(sync, "Succeeded", now)))
        for job in found.jobs_of(sync):
            rows.append((2, f"Job/{job['metadata']['name']}", *_job(job, now)))
            rows += [(3, f"Pod/{pod['metadata']['name']}", *_pod(pod, now)) for pod in found.pods_of(job)]
    return rows


def pod_trouble(pod: dict[str, Any]) -> str:
    """Why a pod does not run, in the kubelet's or the scheduler's words; empty when nothing is wrong."""
    state = pod.get("status") or {}
    for container in state.get("containerStatuses") or []:
        waiting = (container.get("state") or {}).get("waiting") or {}
        if waiting.get("reason") not in (None, "ContainerCreating", "PodInitializing"):
            return " ".join(part for part in (waiting["reason"] + ":", waiting.get("message", "")) if part)
        ended = (container.get("state") or {}).get("terminated") or {}
        if ended.get("reason") == "OOMKilled":
            return "OOMKilled: it used more memory than its limit."
    for entry in state.get("conditions") or []:
        if entry.get("type") == "PodScheduled" and entry.get("status") == "False":
            return str(entry.get("message") or entry.get("reason") or "")
    return str(state.get("message") or "")


def _sum(item: dict[str, Any], kind: str, now: datetime) -> tuple[str, str, str]:
    entry = condition(item, kind) or {"reason": "Pending", "message": "", "status": "Unknown"}
    message = "" if entry["status"] == "True" else entry.get("message", "")
    return entry["reason"], relative(item["metadata"]["creationTimestamp"], now), message


def _job(job: dict[str, Any], now: datetime) -> tuple[str, str, str]:
    state = "Running" if (job.get("status") or {}).get("active") else "Suspended" if job["spec"].get("suspend") else ""
    message = ""
    for entry in (job.get("status") or {}).get("conditions") or []:
        if entry["status"] == "True" and entry["type"] in ("Complete", "Failed"):
            state, message = entry["type"], entry.get("message", "") if entry["type"] == "Failed" else ""
    return state or "Pending", relative(job["metadata"]["creationTimestamp"], now), message


def _pod(pod: dict[str, Any], now: datetime) -> tuple[str, str, str]:
    phase = (pod.get("status") or {}).get("phase", "Unknown")
    return phase, relative(pod["metadata"]["creationTimestamp"], now), pod_trouble(pod)


def _branch(depth: int) -> str:
    return "" if depth == 0 else "  " * (depth - 1) + "└ "
