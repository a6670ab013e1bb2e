"""`towline test`: does this account work, stream by stream?"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from typing import TYPE_CHECKING

import click

from towline.cli.errors import NOT_READY, CliError
from towline.cli.output import number, print_json, say

if TYPE_CHECKING:
    from towline.cli.local import Prepared
    from towline_connectors.engine.sample import Sampled


@click.command()
@click.argument("name", required=False)
@click.option("-f", "--file", "files", multiple=True, metavar="FILE", help="File, folder or - for standard input.")
@click.option("--stream", "streams", multiple=True, metavar="STREAM", help="Only this stream. Repeatable.")
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="A setting (spec.config). Repeatable.")
@click.option("--connector-file", multiple=True, metavar="FILE", help="A Connector manifest. Repeatable.")
@click.option("--timeout", type=click.IntRange(1), default=60, show_default=True, help="Seconds to wait at most.")
@click.option("-o", "--output", type=click.Choice(["text", "json"]), default="text", show_default=True)
def test(
    name: str | None,
    files: tuple[str, ...],
    streams: tuple[str, ...],
    settings: tuple[str, ...],
    connector_file: tuple[str, ...],
    timeout: int,
    output: str,
) -> None:
    """Try the credentials and ask each stream once, for one page. Nothing is written.

    Manifests, names and credentials are given as to `towline run`. Streams that need an export job are not asked.
    On a cluster a SyncJob with `mode: Check` tries the credentials where syncs run.

    Exit codes: 0 all answer, 1 not possible, 2 something does not work.
    """
    if not files and name is None:
        raise click.UsageError("Say what to try: -f FILE with an Integration, or the name of a connector.")
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
    told = []
    for each in prepared:
        told += asyncio.run(_one(each, timeout, quiet=output == "json"))
    if output == "json":
        print_json(told)
    if any(entry["verdict"] == "failed" for entry in told):
        raise click.exceptions.Exit(NOT_READY)


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
