"""Records of a JSON document as they stand there, without reading them: they are read where they are mapped."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

if TYPE_CHECKING:
    import msgspec

SMALL = 64 << 10  # bytes of a document below which it is simply read


def cut(document: bytes, path: list[str]) -> tuple[Any, list[msgspec.Raw]] | None:
    """The document without its records, and the JSON of each; they are the list at `path`.

    None where that is not worth it or not possible: what is odd in any way is read by `answers.json`, which knows what
    to say of it."""
    if len(document) < SMALL:
        return None
    import msgspec  # its import costs a short run some milliseconds

    try:
        levels: list[tuple[str, dict[str, msgspec.Raw]]] = []
        rest: Any = document
        for name in path:
            members = msgspec.json.decode(rest, type=dict[str, msgspec.Raw])
            levels.append((name, members))
            rest = members[name]
        records = msgspec.json.decode(rest, type=list[msgspec.Raw])
        around: Any = []
        for name, members in reversed(levels):
            others = {key: orjson.loads(memoryview(raw)) for key, raw in members.items() if key != name}
            around = {**others, name: around}
    except (msgspec.MsgspecError, orjson.JSONDecodeError, KeyError, RecursionError):
        return None
    return around, records


def joined(records: list[Any]) -> bytes:
    """A list of such records as JSON."""
    return b"[%b]" % b",".join(records)
