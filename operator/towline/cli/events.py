"""`towline events`: what happened to an Integration and to what hangs on it, oldest first."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from typing import Any

import click

from towline.cli import chain, cluster, completing
from towline.cli.output import print_json, say, table, terminal_width
from towline.cli.status import relative


@click.command()
@click.argument("name", required=False, shell_complete=completing.integrations)
@click.option("-A", "--all-namespaces", is_flag=True, help="Of the Integrations of all namespaces.")
@click.option("--warnings", is_flag=True, help="Only events of type Warning.")
@click.option("-o", "--output", type=click.Choice(["text", "json"]), default="text", show_default=True)
@cluster.options
def events(
    name: str | None,
    all_namespaces: bool,
    warnings: bool,
    output: str,
    kubeconfig: str | None,
    context: str | None,
    namespace: str | None,
) -> None:
    """Show the events about the Integration NAME, its SyncJobs, Jobs and pods; without NAME, of all Integrations."""
    connection = cluster.connect(kubeconfig, context, namespace)
    if name is not None and all_namespaces:
        raise click.UsageError("Give NAME or --all-namespaces, not both.")
    where = "" if all_namespaces else f"/namespaces/{connection.namespace}"
    found = (connection.read(f"/api/v1{where}/events") or {}).get("items") or []
    if name is None:
        chosen = [event for event in found if _ours(event)]
    else:
        everything = chain.gather(connection, name)
        items = [everything.integration, *everything.syncs, *everything.jobs, *everything.pods]
        uids = {item["metadata"]["uid"] for item in items}
        chosen = [event for event in found if event["involvedObject"].get("uid") in uids]
    if warnings:
        chosen = [event for event in chosen if event.get("type") == "Warning"]
    chosen.sort(key=_order)
    if output == "json":
        print_json(chosen)
        return
    if not chosen:
        say("!", "There are no such events. Kubernetes keeps events for an hour.")
        return
    now = datetime.now(UTC)
    headers, rows = ["last seen", "type", "reason", "object", "count", "message"], [_row(one, now) for one in chosen]
    spare, whole = ["count"] if all(row[4] == 1 for row in rows) else [], 4
    if all_namespaces:
        whole += 1
        headers = ["namespace", *headers]
        rows = [[one["involvedObject"].get("namespace") or "", *row] for one, row in zip(chosen, rows, strict=True)]
    click.echo(table(headers, rows, width=terminal_width(sys.stdout), whole=whole, prose=True, spare=[*spare, "type"]))


def _ours(event: dict[str, Any]) -> bool:
    about = event["involvedObject"]
    return str(about.get("apiVersion", "")).startswith("towline.dev/") or event.get("reportingComponent") == "towline"


def _order(event: dict[str, Any]) -> datetime:
    return datetime.fromisoformat(_time(event))  # some have fractions of a second


def _time(event: dict[str, Any]) -> str:
    return str(event.get("lastTimestamp") or event.get("eventTime") or event["metadata"]["creationTimestamp"])


def _row(event: dict[str, Any], now: datetime) -> list[Any]:
    about = event["involvedObject"]
    when = relative(_time(event), now)
    what = f"{about['kind']}/{about['name']}"
    return [when, event.get("type"), event.get("reason"), what, event.get("count") or 1, event.get("message")]
