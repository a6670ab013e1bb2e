"""`towline data`: a read-only look at what has been synced."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import click

from towline.cli import completing, inside
from towline.cli.errors import CliError
from towline.cli.output import display_width, number, print_json, print_rows, program, say, table, terminal_width

if TYPE_CHECKING:
    from towline_connectors.entities.model import Entity
    from towline_connectors.sinks.query import Rows

DEFAULT_TARGET = "./towline.db"
WIDEST = 48  # columns that one value may take in a table on a terminal
# Bookkeeping, which a table for people leaves out; json and csv hold all of it.
BOOKKEEPING = frozenset(
    ("uid", "stream", "source_time", "content_hash", "scan_id", "run_id", "raw", "ext", "modified_time", "deleted_time")
)


target_option = click.option(
    "--from",
    "target",
    default=DEFAULT_TARGET,
    show_default=True,
    envvar="TOWLINE_TO",
    type=click.Path(),
    metavar="FILE|URL",
    help="SQLite file, postgresql://, parquet:/// or s3:// URL; also $TOWLINE_TO.",
)


@click.command()
@click.argument("entity", required=False, metavar="[ENTITY|VIEW]", shell_complete=completing.entities)
@target_option
@click.option("--where", multiple=True, metavar="COLUMN=VALUE", help="Only rows with this value. Repeatable.")
@click.option("--columns", metavar="A,B,…", help="Only these columns, in this order.")
@click.option("--limit", default=100, show_default=True, type=click.IntRange(min=0), help="Rows at most; 0 for all.")
@click.option("--deleted", is_flag=True, help="Also rows that the source has deleted.")
@click.option("-o", "--output", type=click.Choice(["table", "json", "csv"]), default="table", show_default=True)
@inside.options
def data(
    entity: str | None,
    target: str,
    where: tuple[str, ...],
    columns: str | None,
    limit: int,
    deleted: bool,
    output: str,
    there: inside.There | None,
) -> None:
    """Show synced rows of an ENTITY (asset, vulnerability, user …), table or VIEW; without one, what there is.

    Views join what belongs together: open_vulnerabilities, user_groups and others. Nothing is ever changed.
    """
    from towline_connectors.sinks.base import SinkError
    from towline_connectors.sinks.query import QueryError

    if there is not None:
        _from_cluster(there, entity, where, columns, limit, deleted, output)
        return
    try:
        if entity is None:
            _overview(target, output)
        else:
            _rows(target, entity, where, columns, limit, deleted, output)
    except QueryError as error:
        raise CliError(str(error), f"What there is: {program()} data{_from(target)}") from None
    except SinkError as error:
        cure = [] if target != DEFAULT_TARGET else [f"A first sync into it: {program()} run cisa-kev"]
        raise CliError(str(error), *cure) from None


def _from_cluster(
    there: inside.There,
    entity: str | None,
    where: tuple[str, ...],
    columns: str | None,
    limit: int,
    deleted: bool,
    output: str,
) -> None:
    """The same, asked in a pod of the namespace: it answers with JSON, and the table is made here."""
    from towline_connectors.sinks.query import Rows

    asked = ["data", *([entity] if entity else []), *(part for one in where for part in ("--where", one))]
    asked += [*(["--columns", columns] if columns else []), *(["--deleted"] if deleted else [])]
    objects = there.ask([*asked, "--limit", str(limit), "-o", "json"])
    names = list(objects[0]) if objects else []
    found = Rows(names, [tuple(one.values()) for one in objects])
    if output == "table" and entity is not None and objects:
        _print_table(found, _entity(entity), everything=bool(columns))
    else:
        show = {"json": lambda value: value, "table": _counted}.get(output, _plain)
        print_rows(names, [[show(value) for value in row] for row in found.rows], output)
    if not objects:
        say("!", "There are no such rows.")
    elif entity is not None and limit and len(objects) == limit:
        say("!", f"These are the first {limit} rows; --limit 0 shows all.")


def _overview(target: str, output: str) -> None:
    from towline_connectors.sinks import query

    counts = query.tables(target)
    headers = ["entity", "integration", "rows", "deleted"]
    shown = number if output == "table" else int
    print_rows(headers, [[c.entity, c.integration, shown(c.live), shown(c.deleted)] for c in counts], output)
    if output != "table":
        return
    if not counts:
        say("!", "There are no rows yet.")
        return
    joined = [name for name in query.names() if name not in _tables() and not name.startswith(("live_", "towline_"))]
    say("►", f"Views: {', '.join(joined)}")
    say("►", f"Rows: {program()} data {counts[0].entity}{_from(target)}")


def _tables() -> set[str]:
    from towline_connectors.entities import REGISTRY

    return {name for entity in REGISTRY.values() for name in (entity.name, entity.table)}


def _rows(
    target: str,
    name: str,
    where: tuple[str, ...],
    columns: str | None,
    limit: int,
    deleted: bool,
    output: str,
) -> None:
    from towline_connectors.sinks import query

    pairs = [_pair(condition) for condition in where]
    found = query.rows(target, name, pairs, limit=limit + 1 if limit else sys.maxsize, with_deleted=deleted)
    more = bool(limit) and len(found.rows) > limit
    if more:
        found = query.Rows(found.columns, found.rows[:limit])
    found = _typed(found)
    if columns:
        found = _picked(found, [column.strip() for column in columns.split(",")], name)
    if output == "json":
        print_json([dict(zip(found.columns, row, strict=True)) for row in found.rows])
    elif output == "csv":
        print_rows(found.columns, [[_plain(value) for value in row] for row in found.rows], "csv")
    elif found.rows:
        _print_table(found, _entity(name), everything=bool(columns))
    if more:
        say("!", f"These are the first {limit} rows; --limit 0 shows all.")
    elif not found.rows:
        say("!", f"No row of {name}{' fits' if where else ''}.")


def _pair(condition: str) -> tuple[str, str]:
    column, separator, value = condition.partition("=")
    if not separator:
        raise click.UsageError(f'--where takes COLUMN=VALUE, for example hostname=web01; got "{condition}".')
    return column.strip(), value


def _picked(found: Rows, wanted: list[str], name: str) -> Rows:
    from towline_connectors.sinks.query import Rows

    for column in wanted:
        if column not in found.columns:
            raise CliError(f"{name} has no column {column}; it has {', '.join(found.columns)}.")
    places = [found.columns.index(column) for column in wanted]
    return Rows(wanted, [tuple(row[place] for place in places) for row in found.rows])


def _entity(name: str) -> Entity | None:
    from towline_connectors.entities import REGISTRY

    return next((one for one in REGISTRY.values() if name in (one.name, one.table, f"live_{one.table}")), None)


def _print_table(found: Rows, entity: Entity | None, *, everything: bool) -> None:
    """Columns that hold anything, as many as the terminal takes; numbers of enumerations by their captions."""
    captions = {field.column: dict(field.enum) for field in entity.fields if field.enum} if entity else {}
    width = terminal_width(sys.stdout)
    headers: list[str] = []
    cells: list[list[str]] = []
    left_out = 0
    used = 0
    for place in range(len(found.columns)) if everything else _order(found):
        column = found.columns[place]
        named = captions.get(column)
        values = [_short(named.get(row[place], row[place]) if named else row[place]) for row in found.rows]
        if not everything and (column in BOOKKEEPING or not any(values)):
            continue
        widest = max(map(display_width, [column, *values]))
        if width and not everything and headers and used + 3 + min(widest, WIDEST) > width:
            left_out += 1
            continue
        used += (3 if headers else 0) + min(widest, WIDEST)
        headers.append(column.removesuffix("_id") if column in captions else column)
        cells.append(values)
    print(table(headers, list(zip(*cells, strict=True)), width=width))
    if left_out:
        say(" ", f"{left_out} more columns: -o json shows all, --columns chooses.")


def _order(found: Rows) -> list[int]:
    """Places of the columns as people look for them: what a row is about first, its keys last, and the integration
    only where there are several."""
    several = (
        "integration" in found.columns and len({row[found.columns.index("integration")] for row in found.rows}) > 1
    )

    def rank(place: int) -> int:
        column = found.columns[place]
        if column == "integration":
            return 0 if several else 3
        return 2 if column.endswith("_key") else 1

    return sorted(range(len(found.columns)), key=rank)


def _counted(value: Any) -> Any:
    return number(value) if type(value) is int else _plain(value)


def _short(value: Any) -> str:
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return ", ".join(value)
    return str(_plain(value))


def _plain(value: Any) -> Any:
    """A value for a cell: numbers and texts as they are, the rest as text."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list | dict):
        return json.dumps(value, ensure_ascii=False, default=str)
    return value if isinstance(value, int | float) else str(value)


def _typed(found: Rows) -> Rows:
    """Values by their columns' types: SQLite keeps lists and objects as JSON text, and truth as 0 and 1."""
    from towline_connectors.entities import REGISTRY
    from towline_connectors.sinks.query import Rows

    kinds = {field.column: field.type for entity in REGISTRY.values() for field in entity.fields}
    converters = {"texts": _from_json, "json": _from_json, "boolean": _from_integer}
    by_place = [converters.get("json" if c in ("raw", "ext") else kinds.get(c, "")) for c in found.columns]
    rows = [
        tuple(convert(value) if convert else value for convert, value in zip(by_place, row, strict=True))
        for row in found.rows
    ]
    return Rows(found.columns, rows)


def _from_json(value: Any) -> Any:
    if isinstance(value, bytes | memoryview):
        value = bytes(value).decode("utf-8", "replace")
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except ValueError:
        return value


def _from_integer(value: Any) -> Any:
    return bool(value) if isinstance(value, int) else value


def _from(target: str) -> str:
    from towline_connectors.sinks import describe

    return "" if target == DEFAULT_TARGET else f" --from {describe(target)}"
