"""A large JSON document whose records stand in one list: the list's items are given out as they come."""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterator
from typing import Any

from towline_connectors.engine.answers.json import clean
from towline_connectors.engine.errors import SchemaMismatch, Unreachable

MAX_ITEM = 16 << 20  # characters of one record, and of one value that stands beside the list
MAX_REST = 16 << 20  # characters of all that stands around the records
_SPACE = re.compile(r"[ \t\r\n]*")
_TRIM = 1 << 20  # characters that were read and are let go at once


def _refuse(constant: str) -> Any:
    raise ValueError(constant)


class JsonArray:
    """See text.Splitter. `path` leads from the root's members to the list; empty, the root is the list."""

    def __init__(self, path: list[str], host: str, shown: str) -> None:
        self.unreadable = 0
        self._host, self._shown = host, shown
        self._path = path
        self._decoder = codecs.getincrementaldecoder("utf-8-sig")("replace")
        self._scan = json.JSONDecoder(parse_constant=_refuse).raw_decode
        self._text = ""
        self._at = 0
        self._ended = False
        self._found: list[Any] = []
        self._rest: Any = None
        self._kept = 0
        self._walk = self._document()

    def feed(self, data: bytes) -> list[Any]:
        self._text = self._text[self._at :] + self._decoder.decode(data)
        self._at = 0
        return self._step()

    def close(self) -> list[Any]:
        self._text += self._decoder.decode(b"", True)
        self._ended = True
        return self._step()

    def rest(self) -> Any:
        return self._rest

    def _step(self) -> list[Any]:
        next(self._walk, None)
        found, self._found = self._found, []
        return found

    def _document(self) -> Iterator[None]:
        if not self._path:
            yield from self._items()
        else:
            self._rest = {}
            yield from self._members(self._rest, self._path)

    def _members(self, into: dict[str, Any], path: list[str]) -> Iterator[None]:
        """An object, one of whose members leads on to the list."""
        yield from self._expect("{")
        first = True
        while True:
            yield from self._need()
            if self._text[self._at] == "}":
                self._at += 1
                return
            if not first:
                yield from self._expect(",")
            first = False
            yield from self._value()
            name = self._last
            if not isinstance(name, str):
                raise self._bad()
            yield from self._expect(":")
            yield from self._need()
            begins = self._text[self._at]
            if name == path[0] and len(path) > 1 and begins == "{":
                into[name] = {}
                yield from self._members(into[name], path[1:])
            elif name == path[0] and len(path) == 1 and begins == "[":
                yield from self._items()
                into[name] = []
            else:
                before = self._kept
                yield from self._value()
                self._kept = before + self._size
                if self._kept > MAX_REST:
                    raise self._large()
                into[name] = self._last

    def _items(self) -> Iterator[None]:
        yield from self._expect("[")
        first = True
        while True:
            yield from self._need()
            if self._text[self._at] == "]":
                self._at += 1
                return
            if not first:
                yield from self._expect(",")
            first = False
            yield from self._value()
            self._found.append(self._last)
            if self._at > _TRIM:
                self._text, self._at = self._text[self._at :], 0

    _last: Any = None
    _size = 0

    def _value(self) -> Iterator[None]:
        """Any value, into `_last`."""
        yield from self._need()
        tried = 0
        while True:
            there = len(self._text) - self._at
            if there >= tried or self._ended:
                try:
                    value, end = self._scan(self._text, self._at)
                except (ValueError, RecursionError):
                    if self._ended:
                        raise self._cut() if there else self._bad() from None
                    if there > MAX_ITEM:
                        raise self._large() from None
                    tried = there * 3 // 2  # not after each piece: that would read a large value again and again
                else:
                    if end < len(self._text) or self._ended:  # a number may go on
                        slash = self._text.find("\\u", self._at, end) >= 0
                        self._size = end - self._at
                        self._last, self._at = (clean(value) if slash else value), end
                        return
            yield

    def _need(self) -> Iterator[None]:
        """Go to the next character that is no white space; there is one afterwards."""
        while True:
            found = _SPACE.match(self._text, self._at)
            self._at = found.end() if found else self._at
            if self._at < len(self._text):
                return
            if self._ended:
                raise self._cut()
            yield

    def _expect(self, sign: str) -> Iterator[None]:
        yield from self._need()
        if self._text[self._at] != sign:
            raise self._bad()
        self._at += 1

    def _cut(self) -> Unreachable:
        return Unreachable(f"{self._host} answered {self._shown} with half a document.")

    def _bad(self) -> SchemaMismatch:
        return SchemaMismatch(f"{self._host} answered {self._shown} with text that is not JSON.")

    def _large(self) -> SchemaMismatch:
        return SchemaMismatch(f"{self._host} answered {self._shown} with JSON whose records are too large.")
