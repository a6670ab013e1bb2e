"""`towline test NAME` of a cluster's Integration: a SyncJob of mode Check, which asks from where syncs run."""

from __future__ import annotations

import secrets
import time
from typing import Any

from towline.cli.asking import MAX_STREAMS, make_syncjob, must_read, streams_of
from towline.cli.cluster import Cluster
from towline.cli.errors import NOT_READY, TIMED_OUT, CliError
from towline.cli.output import duration, number, program, say
from towline.cli.progress import display

POLL_SECONDS = 0.5
Told = dict[str, Any]


def try_integration(connection: Cluster, name: str, streams: tuple[str, ...], limit: int, *, quiet: bool) -> list[Told]:
    """What was found, first of the credentials, then of each stream. Raises CliError when it cannot be tried."""
    integration = connection.integration(name)
    where = f"{connection.namespace}/{name}"
    if integration["spec"].get("suspend"):
        raise CliError(
            f"{where} is suspended: it starts no run, not even a check.",
            f"Resume it: {program()} resume {name} -n {connection.namespace}",
            exit_code=NOT_READY,
        )
    must_read(connection, integration, streams)
    asked = list(streams) or streams_of(connection, integration)
    if asked is None:
        say("!", "You may not read the Connector: only the credentials are tried. Name streams with --stream.")
    job = f"{name}-check-{secrets.token_hex(3)}"
    spec: dict[str, Any] = {"mode": "Check"}
    if asked:
        spec["streams"] = asked[:MAX_STREAMS]
    make_syncjob(connection, integration, job, spec)
    if not quiet:
        say("►", f"{where}: connector {integration['spec']['connectorRef']['name']}, SyncJob {job}")
    told = _judged(_ended(connection, job, limit), where)
    if not quiet:
        for each in told:
            subject = each["stream"] or "credentials"
            say({"fine": "✔", "failed": "✗"}.get(each["verdict"], "!"), f"{subject}: {each['message']}")
    return told


def _ended(connection: Cluster, job: str, limit: int) -> dict[str, Any]:
    """The SyncJob once it says something of the account: at its end, or when a first attempt failed."""
    began = time.monotonic()
    said = "it waits for the operator"
    with display() as shown:
        while True:
            found = connection.get("syncjobs", job)
            if found is None:
                raise CliError(f"SyncJob {job} was deleted before it ended.")
            status = found.get("status") or {}
            if status.get("completionTime"):
                return found
            if status.get("nextAttemptTime"):  # Towline would try for minutes what a person wants to know now
                _cancel(connection, job)
                return found
            if entry := _condition(found):
                said = f"{entry['reason']}: {entry['message'].rstrip('.')}"
                shown.note(said)
            if time.monotonic() - began >= limit:
                _cancel(connection, job)
                raise CliError(f"After {duration(limit)} there is no answer: {said}.", exit_code=TIMED_OUT)
            time.sleep(POLL_SECONDS)


def _cancel(connection: Cluster, job: str) -> None:
    from towline.contract import CANCEL

    connection.annotate("syncjobs", job, {CANCEL: "true"})


def _judged(job: dict[str, Any], where: str) -> list[Told]:
    entry = _condition(job) or {"status": "Unknown", "reason": "Pending", "message": "it was not looked at"}
    if entry["status"] != "True":
        return [_told(where, "", "failed", f"{entry['reason']}: {entry['message']}")]
    streams = (job.get("status") or {}).get("streams") or []
    return [_told(where, "", "fine", "accepted"), *(_of_stream(where, each) for each in streams)]


def _of_stream(where: str, each: dict[str, Any]) -> Told:
    from towline.api.conditions import Reason

    records, rejected = each.get("read") or 0, each.get("rejected") or 0
    counts = {"records": records, "rejected": rejected}
    why = str(each.get("skipped") or "")
    if why:
        failed = why.partition(":")[0] in set(Reason)
        return _told(where, each["name"], "failed" if failed else "left out", why, **counts)
    text = f"{number(records)} records in the first page" if records else "answers, and has nothing"
    return _told(where, each["name"], "fine", text, **counts)


def _told(where: str, stream: str, verdict: str, message: str, **more: int) -> Told:
    return {"integration": where, "stream": stream, "verdict": verdict, "message": message, **more}


def _condition(job: dict[str, Any]) -> dict[str, Any] | None:
    conditions = (job.get("status") or {}).get("conditions") or []
    return next((each for each in conditions if each["type"] == "Succeeded"), None)
