"""`towline run`: a connector run without any cluster."""

from __future__ import annotations

import os
import shlex
import time
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import click

from towline.cli import completing, options
from towline.cli.errors import FAILED, CliError
from towline.cli.lazy import no_path
from towline.cli.output import duration, misfits, number, print_json, program, say

if TYPE_CHECKING:
    from towline.cli.local import Prepared
    from towline.contract import RunResult

DEFAULT_TARGET = "./towline.db"
USAGE = 64


@click.command()
@click.argument("name", required=False, shell_complete=completing.connectors)
@options.files("File, folder or - for standard input.")
@click.option(
    "--to",
    "target",
    default=DEFAULT_TARGET,
    show_default=True,
    envvar="TOWLINE_TO",
    type=click.Path(),
    metavar="FILE|URL",
    help="SQLite file, postgresql://, parquet:/// or s3:// URL. A URL with a password is better put into $TOWLINE_TO.",
)
@options.streams(completing.connector_streams)
@click.option("--full", is_flag=True, help="Read everything, which also finds deletions.")
@click.option("--check", is_flag=True, help="Only try the credentials; read nothing.")
@options.config
@options.connector_files
@click.option("-o", "--output", type=click.Choice(["text", "json"]), default="text", show_default=True)
def run(
    name: str | None,
    files: tuple[str, ...],
    target: str,
    streams: tuple[str, ...],
    full: bool,
    check: bool,
    settings: tuple[str, ...],
    connector_file: tuple[str, ...],
    output: str,
) -> None:
    """Run a connector here, without a cluster, and keep its data in a file or a database.

    With -f the manifests are those that you would apply: an Integration, its Secret, perhaps a Connector of your own;
    NAME picks one of several Integrations. Without -f, NAME is a bundled connector (towline catalog).

    Credentials come from the Secret among the files or from TOWLINE_CREDENTIAL_<KEY> in the environment.

    A second run goes on where the first ended. Exit codes: 0 done, 64 usage, 65 unexpected data, 70 bug, 75 try
    again later, 77 credentials rejected, 78 configuration, 80 stopped by a guard.
    """
    if not files and name is None:
        raise click.UsageError("Say what to run: -f FILE with an Integration, or the name of a connector.")
    if not files:
        no_path(name)
    from towline.cli.local import Choices, choose, of_connector, prepare
    from towline.cli.manifests import read_all
    from towline.cli.running import INTERRUPTED
    from towline.contract import EXIT_CODES, ExitCode

    where = _where(target)
    try:
        documents = read_all([*files, *connector_file])
        chosen = choose(documents, name) if files else [of_connector(name or "")]
        choices = Choices(streams, full, check, settings)
        # All are checked before the first one starts: a mistake shows at once.
        prepared = [prepare(document, documents, choices, os.environ) for document in chosen]
    except CliError as error:
        if error.exit_code == FAILED:
            error.exit_code = ExitCode.CONFIG
        raise
    flags = [flag for flag, given in (("--full", full), ("--check", check)) if given]
    again = _again(name, files, connector_file, target, streams, settings, flags)
    results = []
    for each in prepared:
        results.append(_one(each, target, where, again, quiet=output == "json"))
        if results[-1].reason == "Disrupted":
            break
    if output == "json":
        objects = [result.model_dump(mode="json", exclude_none=True) for result in results]
        print_json(objects if len(objects) > 1 else objects[0])
    codes = [INTERRUPTED if r.reason == "Disrupted" else EXIT_CODES.get(r.reason, ExitCode.TRANSIENT) for r in results]
    raise click.exceptions.Exit(next((int(code) for code in codes if code), 0))


def _where(target: str) -> str:
    """The destination for people. Raises CliError when the address is none."""
    from towline_connectors.sinks import describe
    from towline_connectors.sinks.base import SinkError

    try:
        if "://" in target:
            _ = urlsplit(target).port  # raises ValueError as soon as a part of the address is none
        return describe(target)
    except SinkError as error:
        raise CliError(f"--to: {error}", exit_code=USAGE) from None
    except ValueError:  # the text may hold a password and is not repeated
        raise CliError(
            "--to: the URL cannot be read; it looks like postgresql://USER:PASSWORD@HOST:5432/DATABASE, with special"
            " characters of the password percent-encoded.",
            exit_code=USAGE,
        ) from None


def _one(prepared: Prepared, target: str, where: str, again: str, *, quiet: bool) -> RunResult:
    """One Integration from its first line to its last."""
    from towline.cli.running import execute
    from towline_connectors.sinks import open_sink

    check = prepared.plan.mode == "Check"
    version = prepared.plan.manifest["version"]
    say(
        "►",
        f"{prepared.name}: {prepared.title}, connector {prepared.plan.connector} {version}"
        + ("" if check else f" → {where}"),
    )
    for note in prepared.notes:
        say(" ", note)
    began = time.monotonic()
    result = execute(prepared, None if check else open_sink(target))
    if not quiet:
        _summarise(prepared, result, target, time.monotonic() - began, again)
    return result


def _summarise(prepared: Prepared, result: RunResult, target: str, took: float, again: str) -> None:
    """A line for each stream, one for all, and what to type next. The last line tells how it ended."""
    from towline.contract import EXIT_CODES, ExitCode

    good = EXIT_CODES.get(result.reason) is ExitCode.OK
    check = prepared.plan.mode == "Check"
    _tell_streams(result, good)
    if good:
        where = "" if check else f"  →  {_where(target)}"
        say("✔", f"{duration(took)}  {result.message if check or result.reason != 'Completed' else 'done'}{where}")
        if not check:
            say(" ", _next(prepared, target, result))
        if lost := sum(stream.rejected for stream in result.streams):
            source = "" if _default(target) else f" --from {_typed(target)}"
            command = f"data towline_rejected{source} --where integration={prepared.plan.integration}"
            say("!", f"{misfits(lost)}: {program()} {command}")
        return
    if result.reason == "Disrupted":
        say("!", f"Stopped after {duration(took)}.")
    else:
        say("✗", f"{prepared.name}: {result.reason}: {result.message}")
    if result.retry_after_seconds is not None:
        say(" ", f"The system asks to wait {duration(result.retry_after_seconds)}.")
    if result.reason == "ConnectorBug":
        say(" ", "Run it again with TOWLINE_DEBUG=1 for the details.")
    elif any(stream.read for stream in result.streams):
        say("►", f"What was committed stays. To go on from there: {again}")
    else:
        say("►", f"To try again: {again}")


def _tell_streams(result: RunResult, good: bool) -> None:
    told = [stream for stream in result.streams if good or stream.read or stream.skipped]
    width = max((len(stream.name) for stream in told), default=0)
    for stream in told:
        name = stream.name.ljust(width)
        if stream.skipped:
            say("!", f"{name}  left out: {stream.skipped}")
            continue
        counts = [f"{number(stream.read):>9} read", f"{number(stream.upserted):>9} new or changed"]
        counts += [f"{number(stream.deleted)} deleted"] if stream.deleted else []
        counts += [f"{number(stream.rejected)} rejected"] if stream.rejected else []
        counts += ["(in full)"] if stream.full else []
        say("✔" if good else "◎", f"{name}  {'  '.join(counts)}")


def _next(prepared: Prepared, target: str, result: RunResult) -> str:
    """Where to look: at what the stream that brought most is about."""
    most = max(result.streams, key=lambda stream: (stream.upserted, stream.read)).name if result.streams else ""
    read = [s for s in prepared.plan.manifest.get("streams") or [] if s["name"] == most]
    emits = [emit for stream in read for emit in stream.get("emit") or []]  # parents of others make no rows
    entity = f" {emits[-1]['entity']}" if emits else ""
    source = "" if _default(target) else f" --from {_typed(target)}"
    return f"Look at it: {program()} data{entity}{source}"


def _again(
    name: str | None,
    files: tuple[str, ...],
    connector_files: tuple[str, ...],
    target: str,
    streams: tuple[str, ...],
    settings: tuple[str, ...],
    flags: list[str],
) -> str:
    """The command that goes on; never with a password."""
    parts = [name] if name else []
    for option, values in (
        ("-f", files),
        ("--connector-file", connector_files),
        ("--stream", streams),
        ("--set", settings),
    ):
        parts += [part for value in values for part in (option, value)]
    parts += flags
    to = "" if _default(target) else f" --to {_typed(target)}"
    return f"{program()} run {shlex.join(parts)}{to}"


def _default(target: str) -> bool:
    """Whether the same commands find this destination by themselves."""
    return target in (DEFAULT_TARGET, os.environ.get("TOWLINE_TO"))


def _typed(target: str) -> str:
    """A destination as an argument to type; a password stays out of it."""
    shown = _where(target)
    hidden = "://" in target and urlsplit(target).password
    return shlex.quote(shown) + ("   (with the password in $PGPASSWORD)" if hidden else "")
