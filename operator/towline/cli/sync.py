"""`towline sync`: ask for a sync on the cluster and follow it to its end."""

from __future__ import annotations

import sys
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from towline.cli import cluster, completing, options
from towline.cli.errors import NOT_READY, TIMED_OUT, CliError
from towline.cli.output import duration, misfits, number, print_json, program, say, table, terminal_width
from towline.cli.status import relative

if TYPE_CHECKING:
    from towline.cli.cluster import Cluster
    from towline.cli.progress import Display

POLL_SECONDS = 1.0
GRACE_SECONDS = 20.0  # the operator looks at a missing Secret again every 15 seconds
SILENT_SECONDS = 30.0  # after this without a SyncJob, hint at the operator


@click.command()
@click.argument("name", shell_complete=completing.integrations)
@click.option("--full", is_flag=True, help="Read every stream in full, which also finds deletions.")
@options.streams(completing.integration_streams)
@click.option("--wait/--no-wait", default=True, show_default=True, help="Follow the sync to its end.")
@click.option("--timeout", default="1h", show_default=True, metavar="DURATION", help="How long to wait, as 30s or 2h.")
@click.option("-o", "--output", type=click.Choice(["text", "json"]), default="text", show_default=True)
@cluster.options
def sync(
    name: str,
    full: bool,
    streams: tuple[str, ...],
    wait: bool,
    timeout: str,
    output: str,
    kubeconfig: str | None,
    context: str | None,
    namespace: str | None,
) -> None:
    """Sync the Integration NAME now.

    Exit codes: 0 done, 1 not possible, 2 the sync failed, 3 still running after --timeout, 4 forbidden.
    """
    limit = cluster.time_limit("--timeout", timeout)
    connection = cluster.connect(kubeconfig, context, namespace)
    integration = connection.integration(name)
    where = f"{connection.namespace}/{name}"
    if integration.get("spec", {}).get("suspend"):
        raise CliError(
            f"{where} is suspended: it starts no sync.",
            f"Resume it: {program()} resume {name} -n {connection.namespace}",
            f"or: kubectl -n {connection.namespace} patch integrations.towline.dev {name}"
            """ --type merge -p '{"spec":{"suspend":false}}'""",
            exit_code=NOT_READY,
        )
    job_name = _ask(connection, integration, full, streams)
    what = f"{where} ({', '.join(streams)})" if streams else where
    say("►", f"asked for a {'full ' if full else ''}sync of {what}: SyncJob {job_name}")
    if not wait:
        say("►", f"Follow it: kubectl -n {connection.namespace} get syncjobs.towline.dev {job_name} -w")
        if output == "json":
            print_json({"integration": name, "namespace": connection.namespace, "syncJob": job_name})
        return
    try:
        job = _follow(connection, name, job_name, limit)
    except KeyboardInterrupt:
        say("!", f"Stopped watching. The sync goes on; look again: {program()} status {name} -n {connection.namespace}")
        raise
    if output == "json":
        print_json(job)
    _tell(job, where, name, output)
    if output == "text":
        _tell_next(connection, name)


def _ask(connection: Cluster, integration: dict[str, Any], full: bool, streams: tuple[str, ...]) -> str:
    """Ask by annotation, or for some streams only, which an annotation cannot name, by a SyncJob. Returns its name."""
    from towline.contract import FULL_AT, REQUESTED_AT, REQUESTED_BY
    from towline.core import names

    name = str(integration["metadata"]["name"])
    token = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    job_name = names.requested(name, token)
    if streams:
        from towline.cli.asking import make_syncjob, must_read

        must_read(connection, integration, streams)
        spec = {"streams": list(dict.fromkeys(streams)), **({"mode": "Full"} if full else {})}
        make_syncjob(connection, integration, job_name, spec)
        return job_name
    who = {REQUESTED_BY: user} if (user := connection.user()) else {}
    connection.annotate("integrations", name, {REQUESTED_AT: token, **who, **({FULL_AT: token} if full else {})})
    return job_name


def _follow(connection: Cluster, name: str, job_name: str, limit: int) -> dict[str, Any]:
    """Poll until the SyncJob is complete. Raises CliError when it never starts or takes too long."""
    from towline.cli.progress import display

    began = time.monotonic()
    last = "no SyncJob was made"
    told: set[str] = set()
    with display() as shown:
        while True:
            waited = time.monotonic() - began
            job = connection.get("syncjobs", job_name)
            if job is not None:
                if (job.get("status") or {}).get("completionTime"):
                    return job
                last = _show(shown, job, told)
            else:
                last = _why_not_yet(connection, name, waited)
                shown.note(f"waiting: {last}")
            if waited >= limit:
                raise CliError(
                    f"After {duration(waited)} the sync has not ended: {last}.",
                    f"It goes on. Look again: {program()} status {name} -n {connection.namespace}",
                    exit_code=TIMED_OUT,
                )
            time.sleep(POLL_SECONDS)


def _show(shown: Display, job: dict[str, Any], told: set[str]) -> str:
    """Show how far it is; `told` are the streams that have ended. Returns what it waits for."""
    status = job.get("status") or {}
    progress = status.get("progress") or {}
    condition = _condition(status, "Succeeded")
    if progress.get("stream"):
        for each in progress.get("streams") or []:
            if each["name"] != progress["stream"] and each["name"] not in told:
                told.add(each["name"])
                shown.update(each["name"], each.get("read") or 0, each.get("expected"))
        rate = progress.get("recordsPerSecond")
        shown.update(progress["stream"], progress.get("read") or 0, progress.get("expected"), rate)
    elif condition:
        shown.note(f"{condition['reason']}: {condition['message']}")
    return f"{condition['reason']}: {condition['message'].rstrip('.')}" if condition else "it waits for the operator"


def _why_not_yet(connection: Cluster, name: str, waited: float) -> str:
    """Read the Integration for a reason why no SyncJob was made. Raises CliError when a person has to act."""
    status = connection.integration(name).get("status") or {}
    stalled = _condition(status, "Stalled")
    # A request is an answer to rejected credentials and to a tripped guard. What else stalled the Integration may
    # have just been corrected, and the operator needs a moment to notice.
    answered = ("CredentialsRejected", "PolicyViolation")
    if stalled and stalled["status"] == "True" and stalled["reason"] not in answered:
        if waited > GRACE_SECONDS:
            raise CliError(f"{name} cannot sync: {stalled['reason']}.", stalled["message"], exit_code=NOT_READY)
        return f"{stalled['reason']}: {stalled['message'].rstrip('.')}"
    active = [entry["name"] for entry in status.get("active") or []]
    if active:
        return f"{', '.join(active)} is still running"
    if waited > SILENT_SECONDS:
        return (
            "the operator has not answered the request; is it running?"
            " kubectl get pods -A -l app.kubernetes.io/name=towline"
        )
    return "the operator has not seen the request yet"


def _tell(job: dict[str, Any], where: str, name: str, output: str) -> None:
    status = job["status"]
    condition = _condition(status, "Succeeded") or {"status": "Unknown", "reason": "ResultLost", "message": ""}
    totals = status.get("totals") or {}
    counts = "   ".join(
        f"{word} {number(totals[key])}"
        for key, word in (("read", "read"), ("upserted", "changed"), ("deleted", "removed"), ("rejected", "rejected"))
        if totals.get(key) is not None
    )
    took = _took(status)
    streams = [_stream_row(each) for each in status.get("streams") or []]
    if streams and output == "text":
        headers = ["stream", "read", "changed", "removed", "rejected", "note"]
        click.echo(table(headers, streams, width=terminal_width(sys.stderr)), err=True)
    if lost := totals.get("rejected"):
        command = f"data towline_rejected --cluster -n {where.partition('/')[0]} --where integration={where}"
        say("!", f"{misfits(lost)}: {program()} {command}")
    if condition["status"] == "True":
        say("✔", "   ".join(part for part in (took, counts) if part) or "done")
        if condition["reason"] != "Completed":
            say("!", f"{condition['reason']}: {condition['message']}")
        return
    raise CliError(
        f"The sync of {where} failed: {condition['reason']}.",
        *[
            line
            for line in (condition["message"], f"More: {program()} why {name} -n {where.partition('/')[0]}")
            if line
        ],
        exit_code=NOT_READY,
    )


def _tell_next(connection: Cluster, name: str) -> None:
    following = (connection.integration(name).get("status") or {}).get("nextScheduleTime")
    if following:
        say(" ", f"The next one is due {relative(following, datetime.now(UTC))}.")


def _stream_row(each: dict[str, Any]) -> list[str]:
    counts = [number(each.get(key) or 0) for key in ("read", "upserted", "deleted", "rejected")]
    note = f"left out: {each['skipped']}" if each.get("skipped") else "read in full" if each.get("full") else ""
    return [each["name"], *counts, note]


def _took(status: dict[str, Any]) -> str:
    start, end = status.get("startTime"), status.get("completionTime")
    if not start or not end:
        return ""
    return duration((datetime.fromisoformat(end) - datetime.fromisoformat(start)).total_seconds())


def _condition(status: dict[str, Any], kind: str) -> dict[str, Any] | None:
    return next((c for c in status.get("conditions") or [] if c.get("type") == kind), None)
