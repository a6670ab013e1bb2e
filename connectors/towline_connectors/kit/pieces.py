"""Asks a recording piece by piece: by the pieces that its client asked for, or in as many requests as it made."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import takewhile
from typing import Any

from towline_connectors.kit.har import Entry
from towline_connectors.kit.recorded import REFERENCE, Manifest, document, exchanges, leaves, looked_up, pattern

_NAMES = ("param", "offset", "end", "limit")  # members of paginate that name parameters
_LIST = re.compile(r"^[\w.:-]+(,[\w.:-]+)+$|^\d+-\d+$|^[\w.:-]{3,}$")
_IDS = re.compile(r"\bids\b")
_PIECE = "towline_piece"  # a parameter that no recording has, so that it tells repeated requests apart
_ALIKE = 4  # letters at least that the pieces of one kind begin with


def from_pieces(
    stream: Manifest, streams: Sequence[Manifest], config: Mapping[str, Any], entries: Sequence[Entry]
) -> None:
    """Where a stream is read by the records of another one, of which nothing was recorded or not these, or by the
    values of a setting: its pieces are those that were asked for."""
    partitions = stream.get("partitions") or []
    path = str((stream.get("request") or {}).get("path", ""))
    if len(partitions) != 1 or partitions[0]["kind"] not in ("Parent", "List"):
        return
    name = partitions[0]["name"]
    references = [reference for reference in REFERENCE.findall(path) if "partition." in reference]
    if references != [f"${{partition.{name}}}"]:
        return
    before, _, after = path.partition("?")[0].partition(references[0])
    piece = re.compile(pattern("/" + before.lstrip("/")).pattern + "([^/]+)" + pattern(after).pattern + r"\Z")
    keys = list(dict.fromkeys(found[1] for entry in entries if (found := piece.search(entry.path))))
    if partitions[0]["kind"] == "Parent":
        parent = next((each for each in streams if each["name"] == partitions[0]["stream"]), {})
        recorded = exchanges(parent.get("request") or {}, entries)
        if recorded and (not keys or _named(keys, partitions[0]["key"], recorded)):
            return
    elif "window." not in str(partitions[0].get("values")):  # else those that suited the recording's run
        keys = _of_the_same_kind(keys, partitions[0].get("values"), path, streams, config)
    if keys:
        kept = {"optional": True} if partitions[0].get("optional") else {}  # a piece may be gone, as before
        stream["partitions"] = [{"name": name, "kind": "List", "values": keys, **kept}]


def _named(keys: Sequence[str], expression: str, recorded: Sequence[Entry]) -> bool:
    """Whether the records of the parent have one of the pieces as their key; they may have been asked for by another
    name, as an issue by its key instead of its id."""
    member = re.fullmatch(r"=(\w+)", expression)
    if member is None:
        return True
    told = rb'"%s"\s*:\s*"?(?:%s)"?\s*[,}]'
    pattern_ = re.compile(told % (re.escape(member[1]).encode(), b"|".join(re.escape(key).encode() for key in keys)))
    return any(pattern_.search(entry.body) for entry in recorded)


def _of_the_same_kind(
    keys: Sequence[str], values: Any, path: str, streams: Sequence[Manifest], config: Mapping[str, Any]
) -> list[str]:
    """Those pieces that begin like the values of the setting, and that no other stream asks for."""
    setting = re.fullmatch(r"=config\.(\w+)", values) if isinstance(values, str) else None
    known = [str(value) for value in config.get(setting[1]) or []] if setting else []
    same = takewhile(lambda pair: pair[0] == pair[1], zip(min(known, default=""), max(known, default=""), strict=False))
    begin = "".join(letter for letter, _other in same).rstrip("_-.")
    if len(known) < 2 or len(begin) < _ALIKE:
        return []
    others = {str((each.get("request") or {}).get("path", "")) for each in streams}
    return [
        key for key in keys if key.startswith(begin) and path.replace(REFERENCE.findall(path)[0], key) not in others
    ]


def from_details(stream: Manifest, entries: Sequence[Entry]) -> None:
    """Where the ids were listed in another way, or whole records: as many requests for records as were made."""
    details = stream.get("details") or {}
    request = details.get("request")
    if not request or details.get("into") or exchanges(stream.get("request") or {}, entries):
        return
    asked = [entry for entry in exchanges(request, entries) if entry.status == 200]
    if not asked:
        return
    for name in ("details", "paginate", "partitions"):
        stream.pop(name, None)
    stream["request"] = {name: _without_ids(part) for name, part in request.items()}
    stream["records"] = details.get("records", stream.get("records"))
    _piece_by_piece(stream, len(asked))


def _without_ids(part: Any) -> Any:
    if isinstance(part, dict):
        return {name: kept for name, value in part.items() if (kept := _without_ids(value)) is not None}
    return None if isinstance(part, str) and part.startswith("=") and _IDS.search(part) else part


def from_export(stream: Manifest, entries: Sequence[Entry]) -> None:
    """Where the answer to the request that makes an export had the records themselves, as of a search that was waited
    for: that request alone."""
    export, records = stream.get("export") or {}, stream.get("records")
    create = export.get("create") or {}
    asked = [document(entry.body) for entry in exchanges(create, entries) if 200 <= entry.status < 300]
    if not records or not asked or any(looked_up(export["jobID"], answer) is not None for answer in asked):
        return
    if any(isinstance(looked_up(records, answer), list) for answer in asked):
        del stream["export"]
        stream["request"] = {"method": "POST", **create}
        stream["sync"] = {"mode": "Full"}


def in_batches(stream: Manifest, entries: Sequence[Entry]) -> None:
    """Where the recording's client asked by lists of ids for what is asked for at once here: as many requests as it
    made, each of which gets the next answer."""
    request = stream.get("request") or {}
    if stream.get("partitions") or "path" not in request:
        return
    own = {*(request.get("query") or {}), *(request.get("form") or {}), *leaves(request.get("json"))}
    own |= {str(value) for name, value in (stream.get("paginate") or {}).items() if name in _NAMES}
    asked = [_lists(entry) for entry in exchanges(request, entries) if entry.status == 200]
    if len(asked) < 2:
        return
    shared = set.intersection(*(set(each) for each in asked)) - own
    if any(len({each[name] for each in asked}) == len(asked) and _LIST.search(asked[0][name]) for name in shared):
        _piece_by_piece(stream, len(asked))


def _lists(entry: Entry) -> dict[str, str]:
    """The parameters of a request, and the lists in its body, as texts."""
    sent = {name: ",".join(map(str, value)) for name, value in leaves(document(entry.sent)).items() if _flat(value)}
    return sent | dict(entry.form) | dict(entry.query)


def _flat(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(each, str | int) for each in value)


def _piece_by_piece(stream: Manifest, count: int) -> None:
    request = stream["request"]
    stream["partitions"] = [{"name": "piece", "kind": "List", "values": [str(n) for n in range(count)]}]
    place = "form" if request.get("form") is not None else "query"
    stream["request"] = {**request, place: {**(request.get(place) or {}), _PIECE: "=partition.piece"}}
    stream["concurrency"] = 1
