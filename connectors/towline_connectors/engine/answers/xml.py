"""Answers that are XML, read in pieces: records are given out as they end and not kept.

An element becomes the object of its children; one with text alone its text, an empty one null. Attributes are
`@name`, text beside children or attributes is `#text`. A child that comes more than once is a list, as is one that
the manifest names in parse.lists. Prefixes of namespaces are dropped. Entities that the document defines are
refused, external ones never read.
"""

from __future__ import annotations

from typing import Any
from xml.parsers import expat

from towline.api.manifest import Parse
from towline_connectors.engine.answers.json import refuse_page
from towline_connectors.engine.errors import EngineError, InvalidManifest, SchemaMismatch, Unreachable

MAX_DEPTH = 200
MAX_TEXT = 64 << 20  # characters of what is kept at once: one record, or all that stands around them
NODE = 64  # characters that an element counts for
_CUT_OFF = {
    expat.errors.codes[name] for name in (expat.errors.XML_ERROR_NO_ELEMENTS, expat.errors.XML_ERROR_UNCLOSED_TOKEN)
}


class _Element:
    __slots__ = ("content", "name", "text")

    def __init__(self, name: str, attributes: dict[str, str]) -> None:
        self.name = name
        self.text: list[str] = []
        self.content: dict[str, Any] | None = {
            f"@{local(key)}": value for key, value in attributes.items() if not key.startswith("xmlns")
        } or None

    def value(self) -> Any:
        text = "".join(self.text).strip()
        if self.content is None:
            return text or None
        if text:
            self.content["#text"] = text
        return self.content


def local(name: str) -> str:
    return name.rpartition(":")[2]


class Xml:
    """See text.Splitter. `path` leads to the records, from the root's name on; without it the root is the record."""

    def __init__(self, path: list[str] | None, parse: Parse | None, host: str, shown: str) -> None:
        self.unreadable = 0
        self._host, self._shown = host, shown
        self._path = path
        self._lists = frozenset((parse.lists if parse else None) or ())
        try:
            self._parser = expat.ParserCreate(parse.encoding if parse else None)
        except (LookupError, ValueError, TypeError):
            raise InvalidManifest("parse.encoding: XML takes utf-8, utf-16, iso-8859-1 and us-ascii.") from None
        self._parser.buffer_text = True
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end
        self._parser.CharacterDataHandler = self._characters
        self._parser.EntityDeclHandler = self._entity
        self._open: list[_Element] = []
        self._names: list[str] = []
        self._found: list[Any] = []
        self._size = 0
        self._outside = 0  # characters that stand around the records so far
        self._root: dict[str, Any] = {}
        self._first = True

    def feed(self, data: bytes) -> list[Any]:
        if self._first and data.strip():
            self._first = False
            head = data[:1000].lstrip(b"\xef\xbb\xbf \r\n\t").lower()
            if head.startswith((b"<!doctype html", b"<html")):
                refuse_page("<", self._host, self._shown, "XML")
        return self._parse_piece(data, last=False)

    def close(self) -> list[Any]:
        return self._parse_piece(b"", last=True)

    def rest(self) -> Any:
        return self._root

    def _parse_piece(self, data: bytes, *, last: bool) -> list[Any]:
        try:
            self._parser.Parse(data, last)
        except EngineError:
            raise
        except expat.ExpatError as error:
            if last and error.code in _CUT_OFF:
                raise Unreachable(f"{self._host} answered {self._shown} with half a document.") from None
            raise SchemaMismatch(f"{self._host} answered {self._shown} with text that is not XML.") from None
        except (LookupError, ValueError):
            raise SchemaMismatch(
                f"{self._host} answered {self._shown} with XML in an encoding that there is not; name the right one in"
                " parse.encoding."
            ) from None
        found, self._found = self._found, []
        return found

    def _entity(self, *_declaration: Any) -> None:
        raise SchemaMismatch(f"{self._host} answered {self._shown} with XML that defines entities; it was not read.")

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        if len(self._open) >= MAX_DEPTH:
            raise SchemaMismatch(f"{self._host} answered {self._shown} with XML that is nested too deeply.")
        element = _Element(local(name), attributes)
        self._grow(NODE + sum(map(len, attributes.values())))
        self._open.append(element)
        self._names.append(element.name)
        if self._names == self._path:
            self._outside = self._size

    def _characters(self, data: str) -> None:
        self._grow(len(data))
        if self._open:
            self._open[-1].text.append(data)

    def _grow(self, size: int) -> None:
        self._size += size
        if self._size > MAX_TEXT:
            raise SchemaMismatch(f"{self._host} answered {self._shown} with XML whose records are too large.")

    def _end(self, _name: str) -> None:
        element = self._open.pop()
        is_record = self._names == self._path
        self._names.pop()
        value = element.value()
        if is_record:
            self._found.append(value)
            self._size = self._outside
            return
        if not self._open:
            self._root = {element.name: value}
            return
        above = self._open[-1]
        if above.content is None:
            above.content = {}
        known = above.content.get(element.name, _ABSENT)
        if isinstance(known, list):
            known.append(value)
        elif known is _ABSENT:
            above.content[element.name] = [value] if element.name in self._lists else value
        else:
            above.content[element.name] = [known, value]


_ABSENT = object()
