"""Mistakes in how a stream is read that its shape does not show: parents, pieces, what dies."""

from __future__ import annotations

import re
from collections.abc import Iterator

from towline.api.connector import ConnectorSpec
from towline.api.manifest import Stream
from towline_connectors.engine.window import is_opaque

_REFERENCE = re.compile(r"\$\{\s*partition\.([A-Za-z_][A-Za-z0-9_]*)")


def problems(stream: Stream, spec: ConnectorSpec) -> list[str]:
    """Each with its place and its cure."""
    found = list(_unused(stream))
    names = {other.name: other for other in spec.streams or []}
    complete = stream.sync.deletes is not None and stream.sync.deletes.complete_scan not in (None, "Never")
    for part in stream.partitions or []:
        place = f"streams[{stream.name}].partitions[{part.name}]"
        if part.kind == "Parent":
            parent = names.get(part.stream or "")
            if parent is None:
                found.append(f"{place}.stream: there is no stream {part.stream}; name one of this connector.")
            elif parent.request is None or parent.partitions:
                found.append(f"{place}.stream: {part.stream} has to have a request and no partitions of its own.")
        elif part.kind == "Dates" and (is_opaque(stream.sync) or stream.sync.format == "Integer"):
            found.append(f"{place}.kind: Dates needs a window of time; this stream's cursor is none.")
        elif part.kind == "Dates" and part.step and (complete or not stream.sync.first_run):
            found.append(f"{place}.step: it needs sync.firstRun and no completeScan, to have a beginning.")
    known = _known(stream)
    asked = [part.model_dump_json() for part in (stream.request, stream.details) if part is not None]
    found += [
        f"streams[{stream.name}].request: ${{partition.{name}}} is not among its partitions;"
        f" there {'is' if len(known) == 1 else 'are'} {', '.join(sorted(known)) or 'none'}."
        for name in sorted(set(_REFERENCE.findall(" ".join(asked))) - known)
    ]
    emitted = {emit.entity for emit in stream.emit or []}
    found += [
        f"streams[{stream.name}].sync.deletes.entities: {entity} is not among what it emits."
        for entity in (stream.sync.deletes.entities if stream.sync.deletes else None) or []
        if entity not in emitted
    ]
    if not stream.emit and not any(
        part.stream == stream.name for other in spec.streams or [] for part in other.partitions or []
    ):
        found.append(f"streams[{stream.name}].emit: it is missing, and no other stream is read by this one; add it.")
    return found


_OF_KINDS = {
    "param": ("Cursor", "GraphQL", "Keyset", "Page"),
    "offset": ("Offset",),
    "unit": ("Range",),
    "reanchor": ("Offset",),
}


def _unused(stream: Stream) -> Iterator[str]:
    """Parameters that this kind of paging does not send: the vendor would answer with the first page for ever."""
    paginate = stream.paginate
    if paginate is None:
        return
    for name, kinds in _OF_KINDS.items():
        if getattr(paginate, name) is not None and paginate.kind not in kinds:
            instead = "; write param for it" if name == "offset" and paginate.kind in _OF_KINDS["param"] else ""
            instead = "; write offset for it" if name == "param" and paginate.kind == "Offset" else instead
            yield (
                f"streams[{stream.name}].paginate.{name}: it only has a meaning with kind {' or '.join(kinds)}, and"
                f" this is {paginate.kind}{instead}."
            )


def _known(stream: Stream) -> set[str]:
    """Names in ${partition.NAME}."""
    names: set[str] = set()
    for part in stream.partitions or []:
        names |= {"start", "end"} if part.kind == "Dates" else {part.name, *(part.keep or {})}
    return names
