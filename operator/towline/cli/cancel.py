"""`towline cancel`: stop what an Integration runs now, and keep what was committed."""

from __future__ import annotations

import time
from typing import Any

import click

from towline.cli import cluster, completing
from towline.cli.errors import TIMED_OUT, CliError
from towline.cli.output import number, program, say
from towline.cli.progress import display
from towline.cli.verdict import condition

WAIT_SECONDS = 120.0  # a pod has 60 to commit what it has read
POLL_SECONDS = 0.5


@click.command()
@click.argument("names", nargs=-1, required=True, metavar="NAME...", shell_complete=completing.syncjobs)
@click.option("--wait/--no-wait", default=True, show_default=True, help="Follow it until its pod has stopped.")
@cluster.options
def cancel(names: tuple[str, ...], wait: bool, kubeconfig: str | None, context: str | None,
           namespace: str | None) -> None:  # fmt: skip
    """Stop the syncs that the Integrations NAME run now, or the SyncJobs of these names. What was committed stays,
    and the next sync goes on from there; a schedule goes on too (towline suspend stops it).

    Exit codes: 0 stopped, or nothing ran, 1 not possible, 3 it did not stop in time, 4 forbidden.
    """
    from towline.contract import CANCEL

    connection = cluster.connect(kubeconfig, context, namespace)
    found = [(name, _running(connection, name)) for name in names]  # a mistyped name changes nothing
    asked = []
    for name, runs in found:
        if not runs:
            say("✔", f"{connection.namespace}/{name}: nothing is running or waiting")
        for run in runs:
            connection.annotate("syncjobs", run, {CANCEL: "true"})
            say("►", f"asked SyncJob {run} to stop")
            asked.append(run)
    if wait and asked:
        _follow(connection, asked)


def _running(connection: cluster.Cluster, name: str) -> list[str]:
    """The SyncJobs of an Integration that have not ended, or the one of this name. Raises CliError."""
    if connection.get("integrations", name) is None:
        sync = connection.get("syncjobs", name)
        if sync is None:
            connection.integration(name)  # which raises, with the names that are near
        return [name] if sync and not _ended(sync) else []
    syncs = connection.list("syncjobs")
    return [
        str(each["metadata"]["name"])
        for each in syncs
        if each["spec"]["integrationRef"]["name"] == name and not _ended(each)
    ]


def _ended(sync: dict[str, Any]) -> bool:
    return bool((sync.get("status") or {}).get("completionTime"))


def _follow(connection: cluster.Cluster, asked: list[str]) -> None:
    end = time.monotonic() + WAIT_SECONDS
    left = list(asked)
    with display() as shown:
        while left and time.monotonic() < end:
            shown.note(f"waiting until {', '.join(left)} has written what it has read")
            for name in list(left):
                sync = connection.get("syncjobs", name)
                if sync is None or _ended(sync):
                    left.remove(name)
            if left:
                time.sleep(POLL_SECONDS)
    if left:
        raise CliError(
            f"{', '.join(left)} did not stop within {WAIT_SECONDS:.0f} s.",
            f"It is asked to. Look again: kubectl -n {connection.namespace} get syncjobs.towline.dev {left[0]}",
            "Is the operator running? " + f"{program()} check",
            exit_code=TIMED_OUT,
        )
    for name in asked:
        say("✔", _outcome(name, connection.get("syncjobs", name)))


def _outcome(name: str, sync: dict[str, Any] | None) -> str:
    """How it ended: it may have been done before it was asked."""
    if sync is None:
        return f"{name} is deleted"
    totals = (sync.get("status") or {}).get("totals") or {}
    reason = (condition(sync, "Succeeded") or {"reason": "ended"})["reason"]
    kept = f"; {number(totals['upserted'])} changed rows stay" if totals.get("upserted") else ""
    return f"{name}: {reason}{kept}"
