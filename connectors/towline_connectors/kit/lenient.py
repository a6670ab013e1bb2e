"""Asks a recording as its own client did: as much at once, and page by page in its way."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from towline_connectors.engine import expressions
from towline_connectors.engine.errors import InvalidManifest
from towline_connectors.engine.values import Mismatch
from towline_connectors.kit import pieces
from towline_connectors.kit.har import Entry
from towline_connectors.kit.recorded import Manifest, document, exchanges, leaves, looked_up, parameters

_OFFSETS = ("startAt", "offset", "start", "skip", "$skip")


def loosen(stream: Manifest, streams: Sequence[Manifest], config: Mapping[str, Any], entries: Sequence[Entry]) -> None:
    """Fit one stream to the recording; its manifest is changed."""
    pieces.from_details(stream, entries)
    pieces.from_export(stream, entries)
    _as_large_as_recorded(stream, entries)
    pieces.from_pieces(stream, streams, config, entries)
    pieces.in_batches(stream, entries)


def _as_large_as_recorded(stream: Manifest, entries: Sequence[Entry]) -> None:
    """Ask for as much at once as the recording did: then a short page ends where the recording ends, and an answer
    about some ids is about those that were asked for. Time is not cut into spans."""
    for partition in stream.get("partitions") or []:
        for name in ("step", "smallest", "cap", "count"):
            partition.pop(name, None)
    stream.pop("concurrency", None)
    recorded = exchanges(stream.get("request") or {}, entries)
    _paged_as_recorded(stream, recorded)
    paging = stream.get("paginate") or {}
    counts = _counts(stream, recorded) if paging.get("kind") in ("Offset", "Page") else []
    size = next((found for entry in recorded if (found := _page_size(paging, entry))), None)
    if size is None and len(counts) > 1:
        size = counts[0] or None
    if size:
        paging["size"] = size
    if counts and not stream.get("partitions") and not _tells_total(paging, recorded):
        if size and counts[-1] < size:
            paging["total"] = f"=`{sum(counts)}`"  # its client took a short page for the last
        elif _all_at_once(paging, recorded):
            del stream["paginate"]
    if paging.get("reanchor") and _counted_on(paging, recorded):
        del paging["reanchor"]
    asked = [(stream.get("details"), (stream.get("details") or {}).get("request"))]
    asked += [(partition, stream.get("request")) for partition in stream.get("partitions") or []]
    for holder, request in asked:
        if holder and request and (holder.get("batch", 100 if "request" in holder else 1)) > 1:
            most = max((_ids(entry) for entry in exchanges(request, entries)), default=0)
            if most:
                holder["batch"] = most


def _paged_as_recorded(stream: Manifest, recorded: Sequence[Entry]) -> None:
    """Count through the pages where the recording's client did, of an older version of the API, instead of following
    a cursor that its answers do not have."""
    paging = stream.get("paginate") or {}
    known = [parameters(entry) for entry in recorded]
    if paging.get("kind") != "Cursor" or any(paging["param"] in each for each in known):
        return
    offset = next((name for name in _OFFSETS if any(name in each for each in known)), None)
    if offset:
        kept = {name: paging[name] for name in ("place", "limit", "size") if name in paging}
        stream["paginate"] = {"kind": "Offset", "offset": offset, **kept}


def _counts(stream: Manifest, recorded: Sequence[Entry]) -> list[int]:
    """How many records each page had, if the pages that were recorded follow one another from the first."""
    paging = stream["paginate"]
    is_page = paging["kind"] == "Page"
    name = (paging.get("param") or "page") if is_page else (paging.get("offset") or "offset")
    first = 1 if is_page else 0
    first = paging.get("start", first)
    at: dict[int, int] = {}
    for entry in recorded:
        place, count = parameters(entry).get(name, first), _count(stream.get("records"), entry)
        if entry.status != 200 or count is None or not str(place).isdecimal() or int(place) in at:
            return []
        at[int(place)] = count
    expected, found = first, []
    for place in sorted(at):
        if place != expected:
            return []
        found.append(at[place])
        expected += 1 if is_page else at[place]
    return found


def _count(records: str | None, entry: Entry) -> int | None:
    answer = document(entry.body)
    listed = looked_up(records, answer) if records else answer
    return len(listed) if isinstance(listed, list) else None


def _tells_total(paging: Manifest, recorded: Sequence[Entry]) -> bool:
    told = str(paging.get("total") or paging.get("pages") or "")
    if told.lower().startswith("header:"):
        return any(name == told[7:].strip().lower() for entry in recorded for name, _value in entry.headers)
    try:
        read = expressions.compile_expression(told) if told else None
        return read is not None and any(read(document(entry.body)) is not None for entry in recorded)
    except (Mismatch, InvalidManifest):
        return True


def _all_at_once(paging: Manifest, recorded: Sequence[Entry]) -> bool:
    """Whether the recording's client asked once, without a word of pages, and so got all there was."""
    names = {paging.get(name) for name in ("offset", "end", "limit", "param")} | {"page"}
    return len(recorded) == 1 and names.isdisjoint(parameters(recorded[0]))


def _page_size(paging: Manifest, entry: Entry) -> int | None:
    sent = parameters(entry)
    limit, begin, end = (sent.get(paging.get(name) or "") for name in ("limit", "offset", "end"))
    try:
        if paging.get("limit"):
            return int(limit) if limit is not None and int(limit) > 0 else None
        return int(end) - int(begin) if begin is not None and end is not None and int(end) > int(begin) else None
    except (TypeError, ValueError):
        return None


def _counted_on(paging: Manifest, recorded: Sequence[Entry]) -> bool:
    """Whether the recording's client counted through the pages, instead of beginning each anew at the last row: then
    rows need not come in the order that this asks for, and the total is the one of all pages."""
    return len(recorded) < 2 or any(
        parameters(entry).get(paging.get("offset")) not in (None, "0", 0) for entry in recorded
    )


def _ids(entry: Entry) -> int:
    """How many things a request asks about: the longest list in it."""
    repeated = Counter(name for name, _value in (*entry.query, *entry.form))
    lists = [len(value) for value in leaves(document(entry.sent)).values() if isinstance(value, list)]
    return max([*repeated.values(), *lists, 0]) if (repeated or lists) else 0
