"""`towline logs`: what a sync's pod wrote."""

from __future__ import annotations

import json
import sys

import click

from towline.cli import chain, cluster, completing
from towline.cli.errors import CliError
from towline.cli.output import printable, program, prose, say
from towline.cli.tree import pod_trouble


@click.command()
@click.argument("name", shell_complete=completing.runs)
@click.option("-f", "--follow", is_flag=True, help="Go on while the pod runs.")
@click.option("--tail", type=click.IntRange(min=0), default=None, metavar="N", help="Only the last N lines.")
@cluster.options
def logs(
    name: str, follow: bool, tail: int | None, kubeconfig: str | None, context: str | None, namespace: str | None
) -> None:
    """Print the log of NAME, an Integration (its newest sync) or a SyncJob (its newest attempt).

    A terminal gets time, level and message of each line; into a file or a pipe go the JSON lines as they are.
    """
    connection = cluster.connect(kubeconfig, context, namespace)
    sync = connection.get("syncjobs", name)
    integration = sync["spec"]["integrationRef"]["name"] if sync else name
    found = chain.gather(connection, integration)
    pod = _newest(found, sync)
    if trouble := pod_trouble(pod):
        say("!", f"{pod['metadata']['name']}: {printable(trouble)}")
    query = {"container": pod["spec"]["containers"][0]["name"], "follow": str(follow).lower()}
    if tail is not None:
        query["tailLines"] = str(tail)
    path = f"/api/v1/namespaces/{connection.namespace}/pods/{pod['metadata']['name']}/log"
    shown = _readable if sys.stdout.isatty() else printable
    for line in connection.lines(path, query):
        click.echo(shown(line))


def _readable(line: str) -> str:
    """A line of a run's log for people; any other as it is."""
    try:
        entry = json.loads(line)
        time, level, message = entry["time"][11:19], entry["level"], entry["message"]
    except (ValueError, KeyError, TypeError):
        return printable(line)
    return prose(str(message), label=f"{printable(time)}  {printable(str(level)).ljust(7)}  ")


def _newest(found: chain.Chain, sync: chain.Object | None) -> chain.Object:
    """The newest pod of the SyncJob, or of the newest SyncJob that still has one."""
    if "pods" in found.unseen:
        raise CliError("You may not read pods in this namespace.", exit_code=4)
    for candidate in [sync] if sync else found.syncs:
        for job in reversed(found.jobs_of(candidate)):
            if pods := found.pods_of(job):
                return pods[-1]
    metadata = found.integration["metadata"]
    raise CliError(
        "No pod is left whose log could be shown: Jobs go once their result is recorded, the newest failed one stays.",
        f"What is known of the runs: {program()} status {metadata['name']} -n {metadata['namespace']}",
    )
