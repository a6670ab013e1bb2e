"""Answers that are lines: plain ones, CSV, and JSON by the line. Read in pieces; a line that is broken is counted."""

from __future__ import annotations

import codecs
import csv
import io
from typing import Any, Protocol

from towline.api.manifest import Parse
from towline_connectors.engine.answers import json
from towline_connectors.engine.errors import EngineError, InvalidManifest, SchemaMismatch

MAX_LINE = 16 << 20  # bytes of one line, and of one CSV record with line breaks in it
JUDGED_FROM = 20  # lines of which none is JSON are no JSON lines


class Splitter(Protocol):
    """From pieces of an answer to records. `unreadable` counts what could not be read."""

    unreadable: int

    def feed(self, data: bytes) -> list[Any]: ...

    def close(self) -> list[Any]:
        """The last records."""

    def rest(self) -> Any:
        """What stands around the records, for paging."""


class _Text:
    """Decodes text and cuts it at line ends."""

    def __init__(self, parse: Parse | None, host: str, shown: str) -> None:
        self.unreadable = 0
        self._host, self._shown = host, shown
        self._parse = parse or Parse()
        encoding = self._parse.encoding or "utf-8-sig"
        try:
            self._decoder = codecs.getincrementaldecoder(encoding)("replace")
        except LookupError:
            raise InvalidManifest(
                f'parse.encoding: there is no encoding "{encoding}"; utf-8 and latin-1 are.'
            ) from None
        self._held = ""
        self._first = True

    def feed(self, data: bytes) -> list[Any]:
        text = self._held + self._decoder.decode(data).replace("\0", "")
        if self._first and text.strip():
            self._first = False
            json.refuse_page(text, self._host, self._shown)
        block, self._held = self._cut(text)
        if len(self._held) > MAX_LINE:
            raise SchemaMismatch(
                f"{self._host} answered {self._shown} with a line of more than {MAX_LINE >> 20} million characters."
            )
        return self._records(block) if block else []

    def close(self) -> list[Any]:
        block, self._held = self._held + self._decoder.decode(b"", True), ""
        return self._records(block) if block else []

    def rest(self) -> Any:
        return None

    def _cut(self, text: str) -> tuple[str, str]:
        end = text.rfind("\n") + 1
        return text[:end], text[end:]

    def _records(self, block: str) -> list[Any]:
        raise AssertionError(block)  # each format has its own

    @property
    def _comment(self) -> str:
        return "#" if self._parse.comment is None else self._parse.comment


class Lines(_Text):
    """One record {line} for each line that is neither empty nor a comment."""

    def _records(self, block: str) -> list[Any]:
        comment = self._comment
        lines = (line.strip() for line in block.splitlines())
        return [{"line": line} for line in lines if line and not (comment and line.startswith(comment))]


class JsonLines(_Text):
    """One value for each line that is not empty."""

    _seen = 0

    def _records(self, block: str) -> list[Any]:
        found: list[Any] = []
        for line in block.splitlines():
            if not line.strip():
                continue
            self._seen += 1
            try:
                found.append(json.loads(line.encode("utf-8", "replace"), self._host, self._shown))
            except EngineError:
                self.unreadable += 1
                if self._seen == self.unreadable == JUDGED_FROM:
                    raise SchemaMismatch(
                        f"{self._host} answered {self._shown} with text whose lines are not JSON."
                    ) from None
        return found

    def close(self) -> list[Any]:
        found = super().close()
        if self._seen and self._seen == self.unreadable:
            raise SchemaMismatch(f"{self._host} answered {self._shown} with text whose lines are not JSON.")
        return found


class Csv(_Text):
    """Records by the names of the first line that is no comment, or by parse.columns; cells beyond are dropped."""

    def __init__(self, parse: Parse | None, host: str, shown: str) -> None:
        super().__init__(parse, host, shown)
        self._names = self._parse.columns
        csv.field_size_limit(MAX_LINE)

    def _cut(self, text: str) -> tuple[str, str]:
        """At the last line end that is not within quotes."""
        end = text.rfind("\n") + 1
        if text.count('"', 0, end) % 2 == 0:
            return text[:end], text[end:]
        quote = text.rfind('"', 0, end)
        while quote >= 0:
            end = text.rfind("\n", 0, quote) + 1
            if text.count('"', 0, end) % 2 == 0:
                return text[:end], text[end:]
            quote = text.rfind('"', 0, end)
        return "", text

    def _records(self, block: str) -> list[Any]:
        comment = self._comment
        lines = (line for line in io.StringIO(block, newline="") if not (comment and line.startswith(comment)))
        found: list[Any] = []
        try:
            for row in csv.reader(lines, delimiter=self._parse.delimiter or ","):
                if not row:
                    continue
                if self._names is None:
                    self._names = row
                    continue
                cells = [*row, *([None] * (len(self._names) - len(row)))]
                found.append(dict(zip(self._names, cells, strict=False)))
        except csv.Error:
            raise SchemaMismatch(f"{self._host} answered {self._shown} with text that is not CSV.") from None
        return found
