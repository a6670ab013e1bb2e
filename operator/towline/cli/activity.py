"""`towline activity`: what happened, when, by whom and with what outcome, from the record in the destination."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime, timedelta
from typing import Any

import click

from towline.cli import completing, inside
from towline.cli.data import DEFAULT_TARGET, target_option
from towline.cli.errors import CliError
from towline.cli.output import number, print_json, print_rows, program, say, table, terminal_width

FULL_WIDTH = 110  # columns of a terminal from which on times are shown in full
KINDS = ("Run", "Push", "Check", "Change")


@click.command()
@click.argument("name", required=False, shell_complete=completing.integrations)
@click.option("--since", metavar="DURATION", help="Only of the last so long, as 24h or 7d; left out, all that is kept.")
@click.option("--kind", type=click.Choice(KINDS, case_sensitive=False), help="Only records of this kind.")
@click.option("--outcome", metavar="REASON", help="Only with this outcome, for example CredentialsRejected.")
@click.option("--by", "actor", metavar="WHO", help="Only what this person or tool did.")
@click.option("--limit", default=50, show_default=True, type=click.IntRange(min=0), help="Records at most; 0 for all.")
@click.option("-o", "--output", type=click.Choice(["table", "json", "jsonl", "csv"]), default="table",
              show_default=True)  # fmt: skip
@target_option
@inside.options
def activity(
    name: str | None,
    since: str | None,
    kind: str | None,
    outcome: str | None,
    actor: str | None,
    limit: int,
    output: str,
    target: str,
    there: inside.There | None,
) -> None:
    """Show what happened to the Integration NAME (or NAMESPACE/NAME), or to all: each run, check of credentials and
    change, with who or what caused it. The newest comes first.

    Records are written by the runs into their destination and are never changed; they are kept for 90 days unless the
    installation says otherwise. -o jsonl exports them, a JSON object a line.
    """
    if there is not None:
        given = [part for option, value in (("--since", since), ("--kind", kind), ("--outcome", outcome),
                                            ("--by", actor)) if value for part in (option, value)]  # fmt: skip
        arguments = ["activity", *([name] if name else []), *given, "--limit", str(limit), "-o", "json"]
        records = there.ask(arguments, name)
    else:
        records = _read(target, name, since, kind, outcome, actor, limit)
    _print(records, output, limit)


def _read(
    target: str,
    name: str | None,
    since: str | None,
    kind: str | None,
    outcome: str | None,
    actor: str | None,
    limit: int,
) -> list[dict[str, Any]]:
    from towline_connectors.sinks import query
    from towline_connectors.sinks.base import SinkError

    where = [(column, value) for column, value in (("kind", kind), ("outcome", outcome)) if value]
    try:
        found = query.activity(
            target, where, since=_moment(since), limit=sys.maxsize if name or actor else limit or sys.maxsize
        )
    except SinkError as error:
        cure = [] if target != DEFAULT_TARGET else [
            f"Where it is: --from FILE|URL, or --cluster for a cluster's; a first run here: {program()} run cisa-kev"
        ]  # fmt: skip
        raise CliError(str(error), *cure) from None
    records = [_typed(dict(zip(found.columns, row, strict=True))) for row in found.rows]
    if name:
        records = [one for one in records if one["integration"] in (name, f"default/{name}") or
                   ("/" not in name and one["integration"].partition("/")[2] == name)]  # fmt: skip
    if actor:
        records = [one for one in records if actor.lower() in (one["actor"] or "").lower()]
    return records[:limit] if limit else records


def _moment(since: str | None) -> str:
    if not since:
        return ""
    from towline.api.base import seconds

    try:
        began = datetime.now(UTC) - timedelta(seconds=seconds(since))
    except ValueError as error:
        raise click.UsageError(f"--since: {error}") from None
    return began.strftime("%Y-%m-%dT%H:%M:%SZ")


def _typed(record: dict[str, Any]) -> dict[str, Any]:
    """The record as JSON has it: times as text, details as an object, nothing of the bookkeeping."""
    detail = record["detail"]
    if isinstance(detail, str):
        record["detail"] = json.loads(detail)
    for column in ("time", "finished_time", "recorded_time", "keep_until"):
        if isinstance(record[column], datetime):
            record[column] = record[column].astimezone(UTC).isoformat(timespec="milliseconds")[:23] + "Z"
    return record


def _print(records: list[dict[str, Any]], output: str, limit: int) -> None:
    if output == "json":
        print_json(records)
    elif output == "jsonl":
        for record in records:
            print(json.dumps(record, ensure_ascii=True, default=str))
    elif output == "csv":
        headers = list(records[0]) if records else ["id", "kind", "time"]
        print_rows(headers, [list(record.values()) for record in records], "csv")
    elif records:
        headers = [
            "time (utc)",
            "integration",
            "kind",
            "what",
            "by",
            "outcome",
            "records",
            "calls",
            "bytes",
            "message",
        ]
        several = len({record["integration"] for record in records}) > 1
        rows, width = [_row(record) for record in records], terminal_width(sys.stdout)
        narrow = width is not None and width < FULL_WIDTH
        if narrow and len({row[0][:4] for row in rows}) == 1:
            rows = [[row[0].partition("-")[2][:11], *row[1:]] for row in rows]  # month, day, hour and minute
        spare = ("bytes", "calls", *(["records", *(["by", "kind"] if several else [])] if narrow else []))
        if not several:
            headers, rows = [headers[0], *headers[2:]], [[row[0], *row[2:]] for row in rows]
        print(table(headers, rows, width=width, whole=1, prose=True, spare=spare))
    if not records:
        say("!", "No record fits." if output != "table" else "There is no such record.")
    elif limit and len(records) == limit:
        say("!", f"These are the newest {limit}; --limit 0 shows all.")


def _row(record: dict[str, Any]) -> list[str]:
    kind, _, what = record["object"].partition("/")
    if record["kind"] == "Change":
        what = record["object"]
    elif record["kind"] == "Check" and kind != "SyncJob":
        what = "credentials"
    detail = record["detail"] or {}
    message = "" if record["outcome"] == "Completed" else record["message"] or ""  # the numbers beside it say it all
    if changed := detail.get("changed"):
        message = f"{', '.join(changed)} changed"
    more = " or more" if detail.get("interrupted") else ""  # the operator was restarted meanwhile
    if (detail.get("count") or 0) > 1 or more:
        noun = "syncs" if record["kind"] == "Run" else "checks"
        message = f"{detail['count']}{more} {noun} until {_until(record)} {message}".rstrip()
    by = record["actor"] or record["trigger"]
    return [
        record["time"][:19].replace("T", " "),
        record["integration"] or "",
        record["kind"],
        what,
        f"{by} ({record['trigger']})" if record["kind"] == "Run" and by != record["trigger"] else by,
        record["outcome"] or "",
        _count(record["records"]),
        _count(record["calls"]),
        _size(record["bytes"]),
        message,
    ]


def _until(record: dict[str, Any]) -> str:
    """The end of what lasted: the day only where it is another than that of the beginning."""
    finished = (record["finished_time"] or "")[:19]
    return finished[11:] if finished[:10] == record["time"][:10] else finished.replace("T", " ")


def _count(value: int | None) -> str:
    return "" if value is None else number(value)


def _size(value: int | None) -> str:
    if value is None:
        return ""
    size, units = float(value), ["B", "kB", "MB", "GB"]
    while size >= 1000 and len(units) > 1:
        size /= 1000
        units.pop(0)
    return f"{size:.0f} {units[0]}" if size >= 10 or units[0] == "B" else f"{size:.1f} {units[0]}"
