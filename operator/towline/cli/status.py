"""`towline status`: how Integrations are doing on the cluster, why, and what to do."""

from __future__ import annotations

import re
import sys
from datetime import UTC, datetime
from typing import Any

import click

from towline.cli import cluster, completing
from towline.cli.errors import NOT_READY
from towline.cli.output import coloured, number, print_document, program, prose, say, table, terminal_width
from towline.cli.verdict import Verdict, condition, judge

SPARE = ("next sync", "connector", "last sync")  # columns of the list that a narrow terminal does without
RECENT = 5  # SyncJobs shown of one Integration


@click.command()
@click.argument("name", required=False, shell_complete=completing.integrations)
@click.option("-A", "--all-namespaces", is_flag=True, help="Integrations of all namespaces.")
@click.option("-l", "--selector", metavar="LABELS", help="Only those with these labels, as team=blue.")
@click.option(
    "-o",
    "--output",
    type=click.Choice(["text", "wide", "json", "yaml", "name"]),
    default="text",
    show_default=True,
    help="wide: every column, however narrow the terminal is.",
)
@cluster.options
def status(
    name: str | None,
    all_namespaces: bool,
    selector: str | None,
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
        items = connection.list("integrations", all_namespaces=all_namespaces, labels=selector)
        _print_list(items, connection.namespace, all_namespaces, output)
        return
    integration = connection.integration(name)
    jobs = [job for job in connection.list("syncjobs") if job["spec"]["integrationRef"]["name"] == name]
    jobs.sort(key=lambda job: job["metadata"]["creationTimestamp"], reverse=True)
    if output == "name":
        click.echo(_full_name(integration))
    elif output in ("json", "yaml"):
        print_document({"integration": integration, "syncJobs": jobs}, output)
    else:
        click.echo("\n".join(describe(integration, jobs, datetime.now(UTC))))
    found = judge(integration, jobs)
    if output in ("text", "wide") and found.mark in ("!", "✗"):
        say("►", f"What to do: {program()} why {name} -n {connection.namespace}")
    if found.status != "True":
        raise click.exceptions.Exit(NOT_READY)


def describe(integration: dict[str, Any], jobs: list[dict[str, Any]], now: datetime) -> list[str]:
    """The lines about one Integration: verdict first, then why, streams and the latest runs."""
    metadata, spec, state = integration["metadata"], integration["spec"], integration.get("status") or {}
    name = f"{metadata['namespace']}/{metadata['name']}"
    found = judge(integration, jobs)
    lines = headlines(found, name, now)
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
        headers, rows = ["condition", "status", "reason", "since", "message"], [_condition_row(e, now) for e in others]
        lines += ["", *_indented(table(headers, rows, width=_width(), whole=3, prose=True, spare=("since",)))]
    streams = [entry for entry in state.get("streams") or [] if len(entry) > 1]  # of the others there is no news
    if streams:
        headers, rows = ["stream", "last success", "last full", "checkpoint"], [_stream_row(s, now) for s in streams]
        lines += ["", *_indented(table(headers, rows, width=_width(), whole=1))]
    if jobs:
        lines += ["", *_indented(_jobs(jobs[:RECENT], now))]
    return lines


def brief(found: Verdict) -> str:
    """What is wrong, without what to do about it: `why` tells that. Empty where nothing is."""
    if found.status == "True":
        return found.headline.partition(", but ")[2]
    return re.split(r"(?<=\w|\"|\))\. (?=[A-Z])", found.message, maxsplit=1)[0]


def headlines(found: Verdict, name: str, now: datetime) -> list[str]:
    """How an Integration is doing, and a sentence about it."""
    verdict = {"True": "is ready", "False": "is not ready"}.get(found.status, "is being prepared")
    lasting = ""
    if found.since and (found.trouble is None or found.status == "False"):
        today = found.since[:10] == f"{now:%Y-%m-%d}"
        clock = found.since[11:16] if today else found.since[:16].replace("T", " ")
        lasting = f" (since {clock} UTC, {relative(found.since, now)})"
    sentence = found.sentence(lambda time: relative(time, now))
    first = prose(f"{verdict}: {found.headline}{lasting}", label=f"{found.mark} {name} ")
    return [coloured(first), prose(sentence, 2)]


def _jobs(jobs: list[dict[str, Any]], now: datetime) -> str:
    """A line a SyncJob. Names are for typing and differ at their end, so a narrow terminal leaves out columns."""
    headers = ["syncjob", "trigger", "result", "read", "changed", "removed", "age", "message"]
    rows = [_job_row(job, now) for job in jobs]
    spare = ("trigger", "removed", "changed", "read")
    return table(headers, rows, width=_width(), whole=1, prose=True, spare=spare)


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
    if output == "name":
        click.echo("".join(f"{_full_name(item)}\n" for item in items), nl=False)
        return
    if output in ("json", "yaml"):
        print_document(items, output)
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
    width = None if output == "wide" else terminal_width(sys.stdout)
    click.echo(table(headers, rows, width=width, whole=5 if everywhere else 4, prose=True, spare=SPARE))
    if any(judge(item).mark in ("!", "✗") for item in items):
        say("►", f"What to do about one: {program()} why NAME -n {'NAMESPACE' if everywhere else namespace}")


def _full_name(integration: dict[str, Any]) -> str:
    """As `kubectl get -o name` has it, for the next command of a pipe."""
    return f"integration.towline.dev/{integration['metadata']['name']}"


def _list_row(item: dict[str, Any], now: datetime) -> list[str]:
    state = item.get("status") or {}
    found = judge(item)
    last, following = state.get("lastSuccessfulTime"), state.get("nextScheduleTime")
    suspended = bool(item["spec"].get("suspend"))
    return [
        item["metadata"]["namespace"],
        item["metadata"]["name"],
        item["spec"]["connectorRef"]["name"],
        found.status,
        found.reason,
        relative(last, now) if last else "never",
        "suspended" if suspended else relative(following, now) if following else "",
        brief(found),
    ]


def _condition_row(entry: dict[str, Any], now: datetime) -> list[str]:
    since = relative(entry["lastTransitionTime"], now)
    return [entry["type"], entry["status"], entry["reason"], since, entry.get("message", "")]


def _stream_row(entry: dict[str, Any], now: datetime) -> list[str]:
    times = [entry.get("lastSuccessfulTime"), entry.get("lastFullTime")]
    return [entry["name"], *(relative(time, now) if time else "" for time in times), entry.get("checkpoint") or ""]


def _job_row(job: dict[str, Any], now: datetime) -> list[str]:
    totals = (job.get("status") or {}).get("totals") or {}
    result = condition(job, "Succeeded") or {"reason": "Pending", "message": ""}
    counts = [number(totals[key]) if totals.get(key) is not None else "" for key in ("read", "upserted", "deleted")]
    succeeded = result["reason"] == "Completed"  # the numbers beside it say it all
    age = relative(job["metadata"]["creationTimestamp"], now)
    trigger = job["spec"].get("trigger", "Manual")
    return [job["metadata"]["name"], trigger, result["reason"], *counts, age, "" if succeeded else result["message"]]


def _indented(text: str) -> list[str]:
    return [f"  {line}" for line in text.splitlines()]


def _width() -> int | None:
    width = terminal_width(sys.stdout)
    return width - 2 if width else None
