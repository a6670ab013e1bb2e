"""`towline test`: does this account work, stream by stream?"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from difflib import get_close_matches
from typing import TYPE_CHECKING

import click

from towline.cli import cluster, completing, options
from towline.cli.errors import FAILED, NOT_READY, CliError
from towline.cli.lazy import no_path
from towline.cli.output import number, print_json, say

if TYPE_CHECKING:
    from towline.cli.local import Prepared
    from towline_connectors.engine.sample import Sampled

LOCAL_SECONDS = 60
CLUSTER_SECONDS = 180


@click.command()
@click.argument("name", required=False, shell_complete=completing.integrations)
@options.files("File, folder or - for standard input.")
@options.streams(completing.integration_streams)
@options.config
@options.connector_files
@click.option(
    "--timeout",
    type=click.IntRange(1),
    metavar="SECONDS",
    help="Wait so long.  [default: 60; on a cluster 180]",
)
@click.option("-o", "--output", type=click.Choice(["text", "json"]), default="text", show_default=True)
@cluster.options
def test(
    name: str | None,
    files: tuple[str, ...],
    streams: tuple[str, ...],
    settings: tuple[str, ...],
    connector_file: tuple[str, ...],
    timeout: int | None,
    output: str,
    kubeconfig: str | None,
    context: str | None,
    namespace: str | None,
) -> None:
    """Try the credentials and ask each stream once, for one page. Nothing is written.

    With -f, or for NAME of a bundled connector, it is done here: manifests, names and credentials are given as to
    `towline run`. Any other NAME is an Integration of the cluster, and a SyncJob of mode Check asks from where its
    syncs run; with -n NAMESPACE every NAME is. Streams that need an export job are not asked.

    Exit codes: 0 all answer, 1 not possible, 2 something does not work, 3 no answer within --timeout, 4 forbidden.
    """
    if not files and name is None:
        raise click.UsageError("Say what to try: -f FILE with an Integration, or a name.")
    if not files:
        no_path(name)
    of_cluster = kubeconfig or context or namespace or not (connector_file or name in _bundled())
    if name and not files and of_cluster:
        told = _on_cluster(name, streams, timeout, (kubeconfig, context, namespace), quiet=output == "json")
    else:
        told = _here(name, files, streams, settings, connector_file, timeout or LOCAL_SECONDS, quiet=output == "json")
    if output == "json":
        print_json(told)
    if any(entry["verdict"] == "failed" for entry in told):
        raise click.exceptions.Exit(NOT_READY)


def _bundled() -> list[str]:
    from towline.cli.connectors import bundled

    return list(bundled())


def _on_cluster(
    name: str,
    streams: tuple[str, ...],
    timeout: int | None,
    where: tuple[str | None, str | None, str | None],
    *,
    quiet: bool,
) -> list[dict[str, object]]:
    from towline.cli.cluster_test import try_integration

    try:
        return try_integration(cluster.connect(*where), name, streams, timeout or CLUSTER_SECONDS, quiet=quiet)
    except CliError as error:
        near = get_close_matches(name, _bundled(), n=1)
        if error.exit_code == FAILED and near and not any(where):
            error.cure = (*error.cure, f'If a connector is meant: there is no "{name}". Did you mean {near[0]}?')
        raise


def _here(
    name: str | None,
    files: tuple[str, ...],
    streams: tuple[str, ...],
    settings: tuple[str, ...],
    connector_file: tuple[str, ...],
    timeout: int,
    *,
    quiet: bool,
) -> list[dict[str, object]]:
    from towline.cli.local import Choices, choose, of_connector, prepare
    from towline.cli.manifests import read_all

    documents = read_all([*files, *connector_file])
    chosen = choose(documents, name) if files else [of_connector(name or "")]
    choices = Choices(streams=streams, settings=settings)
    try:
        prepared = [prepare(document, documents, choices, os.environ) for document in chosen]
    except CliError as error:
        error.exit_code = 1
        raise
    return [entry for each in prepared for entry in asyncio.run(_one(each, timeout, quiet=quiet))]


async def _one(prepared: Prepared, timeout: int, *, quiet: bool) -> list[dict[str, object]]:  # noqa: ASYNC109
    from towline.cli.running import certificates
    from towline_connectors.engine.errors import EngineError
    from towline_connectors.engine.sample import sample

    if not quiet:
        say("►", f"{prepared.name}: {prepared.title}, connector {prepared.plan.connector}")
        for note in prepared.notes:
            say(" ", note)
    told: list[dict[str, object]] = []

    def tell(stream: str, verdict: str, text: str, **more: object) -> None:
        told.append({"integration": prepared.plan.integration, "stream": stream, "verdict": verdict, "message": text,
                     **more})  # fmt: skip
        if not quiet:
            say({"fine": "✔", "failed": "✗"}.get(verdict, "!"), f"{stream or 'credentials'}: {text}")

    with certificates(prepared.ca_bundle) as bundle:
        asked = sample(prepared.plan, prepared.secrets, deadline=time.monotonic() + timeout, ca_bundle=bundle,
                       proxy=prepared.proxy)  # fmt: skip
        async with contextlib.aclosing(asked) as found:
            try:
                first = True
                async for each in found:
                    if first:
                        tell("", "fine", "accepted")
                        first = False
                    tell(each.stream, *_verdict(each), records=each.records, rejected=each.rejected)
            except EngineError as error:
                tell("", "failed", f"{error.reason}: {error.message}")
    return told


def _verdict(each: Sampled) -> tuple[str, str]:
    if each.failure is not None:
        return "failed", f"{each.failure.reason}: {each.failure.message}"
    if each.left_out:
        return "left out", f"not tried: {each.left_out}"
    if each.rejected:
        return "failed", f"{number(each.rejected)} of {number(each.records)} records do not fit; the first: {each.why}"
    return "fine", f"{number(each.records)} records in the first page" if each.records else "answers, and has nothing"
