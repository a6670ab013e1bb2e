"""`towline connector replay`: a connector against recorded traffic, its entities on standard output."""

from __future__ import annotations

import sys
from collections import Counter
from typing import TYPE_CHECKING

import click

from towline.cli import completing, options
from towline.cli.errors import FAILED, CliError
from towline.cli.output import number, program, say

if TYPE_CHECKING:
    from collections.abc import Sequence, Set

    from towline_connectors.kit.replay import Recording
    from towline_connectors.kit.replayer import StreamOutcome

MOST_PLACES = 6  # of a recording that a message names


@click.command()
@click.argument("name", shell_complete=completing.connectors_or_files)
@click.option(
    "--har",
    "files",
    multiple=True,
    required=True,
    type=click.Path(),
    metavar="FILE",
    help="The recording, HAR 1.2. Repeatable.",
)
@click.option(
    "--set", "--config", "given", multiple=True, metavar="KEY=VALUE", help="A setting. Others come from the recording."
)
@options.streams(completing.connector_streams)
@click.option("--lenient", is_flag=True, help="Query parameters may differ; repeated requests are answered in order.")
def replay(name: str, files: tuple[str, ...], given: tuple[str, ...], streams: tuple[str, ...], lenient: bool) -> None:
    """Answer the requests of connector NAME from a HAR file and print what becomes of the answers, a JSON object a
    line. NAME is a bundled connector, or the path of a manifest.

    Needs neither credentials nor network: the recording stands in for every host, and nothing is waited for. Fails
    when a stream fails or asks for what the recording does not have. With --lenient and without --stream, streams of
    which nothing was recorded are left out, if there are others.
    """
    from towline.cli.connector_files import find, quiet, settings
    from towline_connectors.kit.replay import Recording
    from towline_connectors.kit.replayer import prepared
    from towline_connectors.kit.replayer import replay as outcomes

    connector = find(name).connector()
    known = [stream.name for stream in connector.spec.streams or [] if stream.emit]  # others are only parents
    for stream in streams:
        if stream not in known:
            raise CliError(f'--stream: there is no stream "{stream}"; there are {", ".join(known) or "none"}.')
    if connector.spec.ldap is not None or connector.spec.entrypoint is not None:
        raise CliError(f"{connector.spec.title} is not read over HTTP, so no HAR file can hold its traffic.")
    own = settings(connector, given, "--set")
    try:
        recording = Recording.load(*files)
        if not recording.entries:
            raise CliError(f"{', '.join(files)} holds no answered request.")
        config = prepared(connector.spec, recording, own, lenient=lenient)
    except CliError:
        raise
    except ValueError as error:
        text = str(error)
        if text in ((connector.spec.config_schema or {}).get("properties") or {}):
            raise CliError(f'Nothing made up fits the setting "{text}".', f"Give it: --set {text}=VALUE") from None
        raise CliError(f"{text}.") from None
    asked = [stream for stream in known if not streams or stream in streams]
    quiet()
    ended = []
    for outcome in outcomes(
        str(connector.metadata.get("name") or name),
        connector.spec,
        recording,
        config=config,
        streams=asked,
        lenient=lenient,
        chosen=bool(streams),
    ):
        _print(outcome)
        ended.append(outcome)
    left_out = {outcome.name for outcome in ended if lenient and not streams and not outcome.good and outcome.absent}
    if len(left_out) == len(ended):
        raise CliError("The recording has nothing of what was asked for.", _holds(recording))
    _summarise(ended, lenient, left_out)
    covered = any(outcome.good and outcome.covered for outcome in ended)
    if not covered or not all(outcome.good or outcome.name in left_out for outcome in ended):
        raise click.exceptions.Exit(FAILED)


def _holds(recording: Recording) -> str:
    """What a recording has, for a person who looks for something else in it."""
    places = list(dict.fromkeys(f"{entry.method} {entry.path}" for entry in recording.entries))
    more = f" and {len(places) - MOST_PLACES} more" if len(places) > MOST_PLACES else ""
    return f"It has {', '.join(places[:MOST_PLACES])}{more}."


def _print(outcome: StreamOutcome) -> None:
    import orjson

    for record in outcome.records:
        sys.stdout.buffer.write(orjson.dumps(record, option=orjson.OPT_APPEND_NEWLINE))
    sys.stdout.buffer.flush()


def _summarise(ended: Sequence[StreamOutcome], lenient: bool, left_out: Set[str]) -> None:
    width = max((len(outcome.name) for outcome in ended), default=0)
    problems = [outcome.problem for outcome in ended if outcome.problem or outcome.covered]
    alike = problems[0] if len(problems) > 1 and len(set(problems)) == 1 else ""  # a refused token, as a rule
    if alike:
        say("✗", f"{alike.rstrip('.')}.")
    for outcome in ended if not alike else ():
        title = outcome.name.ljust(width)
        skipped = next((each.skipped for each in outcome.result.streams if each.skipped), None)
        if outcome.name in left_out:
            say("–", f"{title}  not in the recording")
        elif not outcome.good:
            say("✗", f"{title}  {outcome.problem.rstrip('.')}.")
        elif not outcome.covered and not outcome.records:
            say("–", f"{title}  its settings ask for nothing")
        elif skipped:
            say("!", f"{title}  left out: {skipped}")
        else:
            read = sum(stream.read for stream in outcome.result.streams)
            rejected = f"  {outcome.rejected} rejected" if outcome.rejected else ""
            say("✔", f"{title}  {number(read)} records read  {number(len(outcome.records))} entities{rejected}")
        for (method, path), count in outcome.left.items() if outcome.good else ():
            if method == "GET":
                say(" ", f"{' ' * width}  {count} recorded answers of {method} {path} were not asked for")
    good = [outcome.name for outcome in ended if outcome.good and outcome.covered]
    bad = [outcome for outcome in ended if not outcome.good and outcome.name not in left_out]
    kinds = Counter(record["entity"] for outcome in ended for record in outcome.records)
    counts = ", ".join(f"{number(count)} {kind}" for kind, count in kinds.items())
    told = f"{number(kinds.total())} entities from {len(good)} stream{'s' if len(good) != 1 else ''}"
    told += f": {counts}." if counts else "."
    if not bad:
        say("✔" if good else "✗", told if good else "The recording has nothing of what was asked for.")
        return
    say(" ", told)
    say("✗", f"{len(bad)} of {len(ended)} streams failed.")
    if not lenient and any(outcome.unanswered for outcome in bad):
        say(" ", "The recording was made by another client? With --lenient query parameters may differ.")
    if any(outcome.good and outcome.covered for outcome in ended):
        options = " ".join(f"--stream {outcome.name}" for outcome in ended if outcome.good and outcome.covered)
        say("►", f"What the recording covers: {program()} connector replay … {options}")
