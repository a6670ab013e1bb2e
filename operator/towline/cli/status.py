"""`towline status`: how Integrations are doing on the cluster, why, and what to do."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from typing import Any

import click

from towline.cli import cluster
from towline.cli.errors import NOT_READY
from towline.cli.output import number, print_json, printable, program, say, table, terminal_width

RECENT = 5  # SyncJobs shown of one Integration
FULL_WIDTH = 110  # columns of a terminal from which on each SyncJob has all of its columns


@click.command()
@click.argument("name", required=False)
@click.option("-A", "--all-namespaces", is_flag=True, help="Integrations of all namespaces.")
@click.option("-o", "--output", type=click.Choice(["text", "json"]), default="text", show_default=True)
@cluster.options
def status(
    name: str | None,
    all_namespaces: bool,
    output: str,
    kubeconfig: str | None,
    context: str | None,
    namespace: str | None,
) -> None:
    """Tell how the Integration NAME is doing, why, and what to do; without NAME, list all of the namespace.

    Exit codes: 0 fine, 1 not possible, 2 the Integration NAME is not ready, 4 forbidden.
    """
    connection = cluster.connect(kubeconfig, context, namespace)
    if name is None:
        items = connection.list("integrations", all_namespaces=all_namespaces)
        _print_list(items, connection.namespace, all_namespaces, output)
        return
    integration = connection.integration(name)
    jobs = [job for job in connection.list("syncjobs") if job["spec"]["integrationRef"]["name"] == name]
    jobs.sort(key=lambda job: job["metadata"]["creationTimestamp"], reverse=True)
    if output == "json":
        print_json({"integration": integration, "syncJobs": jobs})
    else:
        click.echo("\n".join(describe(integration, jobs[:RECENT], datetime.now(UTC))))
    ready = condition(integration, "Ready")
    if ready is None or ready["status"] != "True":
        raise click.exceptions.Exit(NOT_READY)


def condition(item: dict[str, Any], kind: str) -> dict[str, Any] | None:
    conditions = (item.get("status") or {}).get("conditions") or []
    return next((entry for entry in conditions if entry.get("type") == kind), None)


def describe(integration: dict[str, Any], jobs: list[dict[str, Any]], now: datetime) -> list[str]:
    """The lines about one Integration: verdict first, then why, streams and the latest runs."""
    metadata, spec, state = integration["metadata"], integration["spec"], integration.get("status") or {}
    name = f"{metadata['namespace']}/{metadata['name']}"
    ready = condition(integration, "Ready") or {"status": "Unknown", "reason": "Pending", "message": "not seen yet"}
    mark = {"True": "✔", "False": "✗"}.get(ready["status"], "◎")
    verdict = {"True": "is ready", "False": "is not ready"}.get(ready["status"], "is being prepared")
    lines = [f"{mark} {name} {verdict}: {ready['reason']}{_since(ready, now)}", f"  {printable(ready['message'])}"]
    if spec.get("suspend"):
        lines.append("  It is suspended: no new syncs start.")
    lines += ["", f"  connector    {spec['connectorRef']['name']}"]
    lines.append(f"  schedule     {state.get('effectiveSchedule') or 'none: only on request'}")
    if state.get("nextScheduleTime") and not spec.get("suspend"):
        lines.append(f"  next sync    {state['nextScheduleTime']} ({relative(state['nextScheduleTime'], now)})")
    if state.get("lastSuccessfulTime"):
        lines.append(f"  last success {state['lastSuccessfulTime']} ({relative(state['lastSuccessfulTime'], now)})")
    if state.get("consecutiveFailures"):
        lines.append(f"  failures     {state['consecutiveFailures']} in a row")
    others = [entry for entry in state.get("conditions") or [] if entry["type"] not in ("Ready", "Stalled")]
    if others:
        lines += ["", *_indented(table(["condition", "status", "reason", "since", "message"],
                                       [_condition_row(entry, now) for entry in others], width=_width()))]  # fmt: skip
    streams = state.get("streams") or []
    if streams:
        rows = [[s["name"], s.get("lastSuccessfulTime"), s.get("lastFullTime"), s.get("checkpoint")] for s in streams]
        lines += ["", *_indented(table(["stream", "last success", "last full", "checkpoint"], rows, width=_width()))]
    if jobs:
        lines += ["", *_indented(_jobs(jobs, now))]
    return lines


def _jobs(jobs: list[dict[str, Any]], now: datetime) -> str:
    """A line a SyncJob. Names are for typing and differ at their end, so a narrow terminal leaves out columns."""
    headers = ["syncjob", "trigger", "result", "read", "changed", "removed", "age", "message"]
    rows = [_job_row(job, now) for job in jobs]
    width = _width()
    if width is not None and width < FULL_WIDTH:
        kept = [headers.index(name) for name in ("syncjob", "result", "read", "changed", "age")]
        headers, rows = [headers[at] for at in kept], [[row[at] for at in kept] for row in rows]
    return table(headers, rows, width=width, whole=1)


def relative(time: str, now: datetime) -> str:
    """`in 28 min` or `3 h ago`."""
    delta = (datetime.fromisoformat(time) - now).total_seconds()
    size = abs(delta)
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60), ("s", 1)):
        if size >= 2 * length or unit == "s":
            amount = f"{int(size // length)} {unit}"
            return f"in {amount}" if delta > 0 else f"{amount} ago"
    return "now"


def _print_list(items: list[dict[str, Any]], namespace: str, everywhere: bool, output: str) -> None:
    if output == "json":
        print_json(items)
        return
    if not items:
        where = "on this cluster" if everywhere else f'in namespace "{namespace}"'
        say("!", f"There is no Integration {where}." + ("" if everywhere else "  All namespaces: -A"))
        return
    now = datetime.now(UTC)
    rows = [_list_row(item, now) for item in items]
    headers = ["namespace", "name", "connector", "ready", "status", "last sync", "next sync", "message"]
    if not everywhere:
        headers, rows = headers[1:], [row[1:] for row in rows]
    click.echo(table(headers, rows, width=terminal_width(sys.stdout), whole=2 if everywhere else 1))
    if any(row[-5] == "False" for row in rows):
        say("►", f"What to do about one: {program()} status NAME" + (" -n NAMESPACE" if everywhere else ""))


def _list_row(item: dict[str, Any], now: datetime) -> list[str]:
    state = item.get("status") or {}
    ready = condition(item, "Ready") or {"status": "Unknown", "reason": "Pending", "message": ""}
    last, following = state.get("lastSuccessfulTime"), state.get("nextScheduleTime")
    suspended = bool(item["spec"].get("suspend"))
    return [
        item["metadata"]["namespace"],
        item["metadata"]["name"],
        item["spec"]["connectorRef"]["name"],
        ready["status"],
        ready["reason"],
        relative(last, now) if last else "never",
        "suspended" if suspended else relative(following, now) if following else "",
        "" if ready["status"] == "True" else ready["message"],
    ]


def _condition_row(entry: dict[str, Any], now: datetime) -> list[str]:
    since = relative(entry["lastTransitionTime"], now)
    return [entry["type"], entry["status"], entry["reason"], since, entry.get("message", "")]


def _job_row(job: dict[str, Any], now: datetime) -> list[str]:
    totals = (job.get("status") or {}).get("totals") or {}
    result = condition(job, "Succeeded") or {"reason": "Pending", "message": ""}
    counts = [number(totals[key]) if totals.get(key) is not None else "" for key in ("read", "upserted", "deleted")]
    age = relative(job["metadata"]["creationTimestamp"], now)
    trigger = job["spec"].get("trigger", "Manual")
    return [job["metadata"]["name"], trigger, result["reason"], *counts, age, result["message"]]


def _since(entry: dict[str, Any], now: datetime) -> str:
    time = entry.get("lastTransitionTime")
    return f" for {relative(time, now).removesuffix(' ago')}" if time else ""


def _indented(text: str) -> list[str]:
    return [f"  {line}" for line in text.splitlines()]


def _width() -> int | None:
    width = terminal_width(sys.stdout)
    return width - 2 if width else None
