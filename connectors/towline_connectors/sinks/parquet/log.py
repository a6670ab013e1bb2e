"""What a lake consists of: for each integration numbered heads, of which the highest one counts.

    log/NAMESPACE/NAME/000000000012.json        a head: the parts that count, checkpoints, runs, who may write
    data/NAMESPACE/NAME/assets/000000000012-1f3a.parquet    a part: rows of one table

A head is made only where none of its number exists. That one step commits rows together with their checkpoint, and
refuses every writer but one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import quote, unquote

import orjson

from towline_connectors.sinks.base import SinkError
from towline_connectors.sinks.parquet.objects import Objects
from towline_connectors.sinks.schema import too_new

FORMAT: Final = 1
KEPT_HEADS: Final = 20
_DIGITS: Final = 12


@dataclass(frozen=True, slots=True)
class Part:
    """A Parquet file. Of two parts with one row the later one counts."""

    table: str
    path: str
    rows: int


@dataclass(slots=True)
class Head:
    """The state of one integration. `tables` are rows of Towline's own tables, by column."""

    number: int = 0
    writer: str = ""  # random: tells a head of one's own whose answer was lost from another's
    time: str = ""
    parts: list[Part] = field(default_factory=list)
    stale: list[tuple[str, str]] = field(default_factory=list)  # parts that no longer count, and since when
    tables: dict[str, list[dict[str, Any]]] = field(default_factory=dict)


def place(integration: str) -> str:
    """The integration as two folders. SinkError when that cannot be."""
    parts = [quote(part, safe="") for part in integration.split("/")]
    if any(part in ("", ".", "..") for part in parts):
        raise SinkError(f"{integration!r} cannot be a folder's name.", transient=False)
    return "/".join(parts)


def part_path(integration: str, table: str, number: int, mark: str) -> str:
    return f"data/{place(integration)}/{table}/{number:0{_DIGITS}}-{mark}.parquet"


def newest(objects: Objects, integration: str) -> Head:
    """The head that counts; one of number 0 when there is none."""
    folder = f"log/{place(integration)}/"
    while True:
        paths = list(objects.list(folder))
        if not paths:
            return Head()
        body = objects.read(paths[-1])
        if body is not None:  # else it was superseded and removed meanwhile
            return _parsed(body, paths[-1])


def integrations(objects: Objects) -> Iterator[str]:
    """All that the lake has."""
    known = {path.removeprefix("log/").rpartition("/")[0] for path in objects.list("log/")}
    return (unquote(name) for name in sorted(known))


def commit(objects: Objects, integration: str, head: Head) -> bool:
    """Make the head count; False when another writer's came first."""
    folder = f"log/{place(integration)}/"
    path = f"{folder}{head.number:0{_DIGITS}}.json"
    if not objects.create(path, _rendered(head)):
        mine = objects.read(path)
        if mine is None or _parsed(mine, path).writer != head.writer:
            return False
    # A writer that slept for long may take a number that was removed since: it is not the newest then.
    if any(True for _ in objects.list(folder, after=path)):
        return False
    if head.number % KEPT_HEADS == 0:
        for old in list(objects.list(folder)):
            if old < f"{folder}{head.number - KEPT_HEADS:0{_DIGITS}}.json":
                objects.delete(old)
    return True


def _rendered(head: Head) -> bytes:
    return orjson.dumps(
        {
            "format": FORMAT,
            "number": head.number,
            "writer": head.writer,
            "time": head.time,
            "parts": [{"table": part.table, "path": part.path, "rows": part.rows} for part in head.parts],
            "stale": head.stale,
            "tables": head.tables,
        },
        option=orjson.OPT_INDENT_2,
    )


def _parsed(body: bytes, path: str) -> Head:
    try:
        found = orjson.loads(body)
        if found["format"] > FORMAT:
            raise too_new("The lake", found["format"])
        parts = [Part(part["table"], part["path"], part["rows"]) for part in found["parts"]]
        stale = [(path, since) for path, since in found["stale"]]
        return Head(found["number"], found["writer"], found["time"], parts, stale, found["tables"])
    except (KeyError, TypeError, ValueError):
        raise SinkError(f"{path} of the destination is damaged; restore it, or remove it and sync in full.") from None
