"""Asks a recording as its own client did: as much at once, page by page in its way, and piece by piece."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from towline_connectors.kit.har import Entry
from towline_connectors.kit.recorded import REFERENCE, Manifest, document, exchanges, leaves, parameters, pattern

_OFFSETS = ("startAt", "offset", "start", "skip", "$skip")
_NAMES = ("param", "offset", "end", "limit")  # members of paginate that name parameters
_LIST = re.compile(r"^[\w.:-]+(,[\w.:-]+)+$|^\d+-\d+$|^[\w.:-]{3,}$")
_PIECE = "towline_piece"  # a parameter that no recording has, so that it tells repeated requests apart


def loosen(stream: Manifest, streams: Sequence[Manifest], entries: Sequence[Entry]) -> None:
    """Fit one stream to the recording; its manifest is changed."""
    _as_large_as_recorded(stream, entries)
    _from_pieces(stream, streams, entries)
    _in_batches(stream, entries)


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
    size = next((found for entry in recorded if (found := _page_size(paging, entry))), None)
    if size:
        paging["size"] = size
    if size and paging.get("until") == "Empty" and paging["kind"] in ("Offset", "Page") and len(recorded) == 1:
        del paging["until"]  # its client took a short page for the last
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


def _from_pieces(stream: Manifest, streams: Sequence[Manifest], entries: Sequence[Entry]) -> None:
    """Where a stream is read by the records of another one, of which nothing was recorded: its pieces are those that
    were asked for."""
    partitions = stream.get("partitions") or []
    path = str((stream.get("request") or {}).get("path", ""))
    if len(partitions) != 1 or partitions[0]["kind"] != "Parent":
        return
    name = partitions[0]["name"]
    parent = next((each for each in streams if each["name"] == partitions[0]["stream"]), {})
    references = [reference for reference in REFERENCE.findall(path) if "partition." in reference]
    if references != [f"${{partition.{name}}}"] or exchanges(parent.get("request") or {}, entries):
        return
    before, _, after = path.partition("?")[0].partition(references[0])
    piece = re.compile(pattern("/" + before.lstrip("/")).pattern + "([^/]+)" + pattern(after).pattern + r"\Z")
    keys = dict.fromkeys(found[1] for entry in entries if (found := piece.search(entry.path)))
    if keys:
        kept = {"optional": True} if partitions[0].get("optional") else {}  # a piece may be gone, as before
        stream["partitions"] = [{"name": name, "kind": "List", "values": list(keys), **kept}]


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


def _in_batches(stream: Manifest, entries: Sequence[Entry]) -> None:
    """Where the recording's client asked by lists of ids for what is asked for at once here: as many requests as it
    made, each of which gets the next answer."""
    request = stream.get("request") or {}
    if stream.get("partitions") or request.get("json") is not None or "path" not in request:
        return
    own = {*(request.get("query") or {}), *(request.get("form") or {})}
    own |= {str(value) for name, value in (stream.get("paginate") or {}).items() if name in _NAMES}
    asked = [dict(entry.query) | dict(entry.form) for entry in exchanges(request, entries) if entry.status == 200]
    if len(asked) < 2:
        return
    shared = set.intersection(*(set(each) for each in asked)) - own
    if not any(len({each[name] for each in asked}) == len(asked) and _LIST.search(asked[0][name]) for name in shared):
        return
    stream["partitions"] = [{"name": "piece", "kind": "List", "values": [str(n) for n in range(len(asked))]}]
    place = "form" if request.get("form") is not None else "query"
    stream["request"] = {**request, place: {**(request.get(place) or {}), _PIECE: "=partition.piece"}}
    stream["concurrency"] = 1
