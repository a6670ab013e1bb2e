"""Finds the records in a vendor's answer by the manifest, and changes them: none at all, or one that is none."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree

import orjson

from towline.api.connector import ConnectorSpec
from towline_connectors.engine import expressions
from towline_connectors.engine.values import Mismatch
from towline_connectors.kit.adapting import paths
from towline_connectors.kit.recorded import pattern

ODD: dict[str, Any] = {"towline-conformance": "no record of this system has this member alone"}


@dataclass(frozen=True, slots=True)
class Place:
    """Where a request of the stream with that number gives records. `form` is the answer's format."""

    number: int
    path: re.Pattern[str]
    form: str
    records: str | None  # the expression
    final: bool  # whether these records are mapped, and are not only ids to ask for details
    whole: bool = False  # whether a document is one record: a report
    counted: bool = False  # whether pages are counted, so that a record more would be one of the next page less

    def fits(self, path: str) -> bool:
        return self.path.search(path) is not None


def places(spec: ConnectorSpec) -> list[Place]:
    """Where records stand, of all streams."""
    found: list[Place] = []
    for number, stream in enumerate(spec.streams or []):
        form = stream.format or "JSON"
        if stream.details is not None:
            details = stream.details
            found.append(
                Place(number, _ending(details.request.path), details.format or form, details.records, not details.into)
            )
        if stream.request is not None:
            whole = stream.details is None or details.into is not None
            paging = stream.paginate
            counted = paging is not None and (paging.kind in ("Offset", "Page", "Range") or paging.total is not None)
            found.append(
                Place(
                    number,
                    _ending(stream.request.path),
                    form,
                    stream.records,
                    whole and bool(stream.emit),
                    counted=counted,
                )
            )
        if stream.export is not None:
            found.append(Place(number, _ending(stream.export.fetch.path), form, stream.records, True))
        if stream.file is not None:
            found.append(Place(number, re.compile(""), form, stream.records, True, whole=True))
    return found


def replaces(spec: ConnectorSpec) -> bool:
    """Whether `with_odd` puts a record in the place of another one somewhere."""
    return any(place.counted and place.form == "JSON" for place in places(spec))


def data_paths(spec: ConnectorSpec) -> list[re.Pattern[str]]:
    """The paths of all requests that belong to streams."""
    return [_ending(path) for path in paths([stream.wire() for stream in spec.streams or []])]


def login_paths(spec: ConnectorSpec) -> list[re.Pattern[str]]:
    """The paths of requests that fetch tokens or log in."""
    auths = [spec.http.auth, *(choice.auth for choice in spec.http.auths or [])] if spec.http else []
    named = [auth.token_url for auth in auths if auth is not None and auth.token_url]
    for auth in auths:
        if auth is not None and auth.session is not None:
            named += [step.path for step in auth.session.login]
    return [_ending(re.sub(r"^(.*?://[^/]+|\$\{[^}]*\})", "", url)) for url in named]


def _ending(path: str) -> re.Pattern[str]:
    return re.compile(pattern("/" + path.partition("?")[0].lstrip("/")).pattern + r"\Z")


def count(body: bytes, place: Place) -> int:
    """Records in an answer; 0 where there are none or the answer is of another kind."""
    if place.form == "JSON":
        document = _parsed(body)
        found = _found(document, place)
        return len(found) or int(place.whole and document is not None)
    if place.form == "XML":
        return sum(1 for _ in _elements(body, place)[1])
    lines = [line for line in body.splitlines() if line.strip() and not line.startswith(b"#")]
    return max(0, len(lines) - (place.form == "CSV"))


def emptied(body: bytes, place: Place) -> bytes:
    """The answer without any record."""
    if place.form == "JSON":
        document = _parsed(body)
        gone = {id(anchor) for anchor in _anchors(document, place)}
        return orjson.dumps(_without(document, gone)) if gone else body
    if place.form == "XML":
        return _changed(body, place, _remove)
    if place.form == "CSV":
        return b"\n".join(body.splitlines()[:1]) + b"\n"
    return b""


def with_odd(body: bytes, place: Place) -> bytes:
    """The answer with a record of which nothing can be made: one more, or the first where records are counted."""
    if place.form == "JSON":
        document = _parsed(body)
        first = next(iter(_anchors(document, place)), None)
        held = _holding(document, first) if first is not None else None
        if held is None:
            return body
        at = next(number for number, record in enumerate(held) if record is first)
        held[at : at + place.counted] = [dict(ODD)]
        return orjson.dumps(document)
    if place.form == "XML":
        return _changed(body, place, _insert)
    if place.form == "JSONLines":
        return orjson.dumps(ODD) + b"\n" + body
    if place.form == "CSV":
        head, _, rest = body.partition(b"\n")
        return head + b"\n" + b"," * head.count(b",") + b"\n" + rest
    return b"\x01 towline-conformance \x01\n" + body


def _parsed(body: bytes) -> Any:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return None


def _found(document: Any, place: Place) -> list[Any]:
    if document is None:
        return []
    found = document
    if place.records:
        try:
            found = expressions.compile_expression(place.records)(document)
        except (Mismatch, expressions.ExpressionError):
            return []
    return found if isinstance(found, list) else []


def _anchors(document: Any, place: Place) -> list[Any]:
    """What stands in lists of the document and makes the records: they themselves, or their innermost part where an
    expression puts them together."""
    held = dict(_owners(document))
    anchors = []
    for record in _found(document, place):
        parts = [record, *reversed(record.values())] if isinstance(record, dict) else [record]
        anchors += [held[id(part)] for part in parts if id(part) in held][:1]
    return anchors


def _owners(value: Any, item: Any = None) -> Iterator[tuple[int, Any]]:
    """For each object the list item that it is or, by members alone, stands in."""
    if isinstance(value, list):
        for member in value:
            yield id(member), member
            yield from _owners(member, member)
    elif isinstance(value, dict):
        for member in value.values():
            if item is not None and isinstance(member, dict):
                yield id(member), item
            yield from _owners(member, item if isinstance(member, dict) else None)


def _without(value: Any, gone: set[int]) -> Any:
    if isinstance(value, list):
        return [_without(item, gone) for item in value if id(item) not in gone]
    if isinstance(value, dict):
        return {key: _without(member, gone) for key, member in value.items() if id(member) not in gone}
    return value


def _holding(value: Any, record: Any) -> list[Any] | None:
    """The list that this very record stands in."""
    members = value if isinstance(value, list) else list(value.values()) if isinstance(value, dict) else []
    if isinstance(value, list) and any(item is record for item in value):
        return value
    return next((held for member in members if (held := _holding(member, record)) is not None), None)


def _elements(body: bytes, place: Place) -> tuple[ElementTree.Element | None, Iterator[ElementTree.Element]]:
    names = re.findall(r"[A-Za-z_][\w-]*", (place.records or "").removeprefix("="))
    try:
        root = ElementTree.fromstring(body)  # noqa: S314 - written by our own simulator
    except ElementTree.ParseError:
        return None, iter(())
    if not names or root.tag.rpartition("}")[2] != names[0]:
        return None, iter(())
    if len(names) == 1:
        return root, iter(())
    parents = root.findall("/".join(names[1:-1])) if len(names) > 2 else [root]
    for parent in parents:
        elements = parent.findall(names[-1])
        if elements:
            parent.set("towline-parent", "1")
            return root, iter(elements)
    return root, iter(())


def _remove(parent: ElementTree.Element, elements: list[ElementTree.Element]) -> None:
    for element in elements:
        parent.remove(element)


def _insert(parent: ElementTree.Element, elements: list[ElementTree.Element]) -> None:
    parent.insert(0, ElementTree.Element(elements[0].tag))


def _changed(
    body: bytes, place: Place, change: Callable[[ElementTree.Element, list[ElementTree.Element]], Any]
) -> bytes:
    root, found = _elements(body, place)
    elements = list(found)
    if root is None or not elements:
        return body
    parent = root if root.get("towline-parent") else root.find(".//*[@towline-parent]")
    if parent is None:
        return body
    del parent.attrib["towline-parent"]
    change(parent, elements)
    return bytes(ElementTree.tostring(root, encoding="utf-8", xml_declaration=True))
