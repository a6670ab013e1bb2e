"""Secrets never reach a log: every form in which a value could stand there is blanked."""

from __future__ import annotations

import base64
import json
import logging
import re
from collections.abc import Iterable
from datetime import UTC, datetime
from urllib.parse import quote, quote_plus

import orjson

MIN_LENGTH = 4  # shorter values would blank half of every sentence, and protect nothing
PART_LENGTH = 16  # of a document's members and lines
BLANK = "***"


def _forms(value: str) -> set[str]:
    """A value as it is, in JSON, in URLs, in hex, and within Base64 at each of the three offsets."""
    raw = value.encode()
    forms = {value, json.dumps(value)[1:-1], json.dumps(value, ensure_ascii=False)[1:-1]}
    forms |= {quote(value, safe=""), quote(value), quote_plus(value), repr(value)[1:-1]}
    forms |= {raw.hex(), raw.hex().upper()}
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        for offset in range(3):
            text = encode(b"\0" * offset + raw).decode().rstrip("=")
            # The first characters mix with what stands before, the last one with what follows.
            inner = text[(0, 2, 3)[offset] : len(text) - (1 if (offset + len(raw)) % 3 else 0)]
            forms.add(inner)
    return {form for form in forms if len(form) >= MIN_LENGTH}


def _parts(secret: str) -> list[str]:
    """What a secret is made of, if it is a document: the texts of a JSON object, the lines of a key in PEM form."""
    found = [line.strip() for line in secret.splitlines() if len(line.strip()) >= PART_LENGTH]
    if secret.lstrip().startswith("{"):
        try:
            document = orjson.loads(secret)
        except orjson.JSONDecodeError:
            return found
        members = [value for value in document.values() if isinstance(value, str)]
        found += [value for value in members if len(value) >= PART_LENGTH and not value.startswith("https://")]
        found += [line for value in members if "\n" in value for line in _parts(value)]
    return [part for part in found if not part.startswith("-----")]


class Redactor:
    """Blanks known secrets in text; the longest first, so that no rest of one stays."""

    def __init__(self, secrets: Iterable[str]) -> None:
        forms: set[str] = set()
        for secret in secrets:
            for value in {secret, secret.strip(), *_parts(secret)}:
                if len(value) >= MIN_LENGTH:
                    forms |= _forms(value)
        self._forms = sorted(forms, key=len, reverse=True)
        # Looked for at every place, so that those which overlap are found.
        self._pattern = re.compile(f"(?=({'|'.join(map(re.escape, self._forms))}))")

    def text(self, text: str) -> str:
        # Most texts hold no secret, and a plain search tells so in a fraction of the pattern's time.
        if not any(form in text for form in self._forms):
            return text
        # What begins within another secret counts too: blanking one after the other would leave the rest of it.
        shown, end = [], 0
        for found in self._pattern.finditer(text):
            begins, ends = found.span(1)
            if begins >= end:
                shown += [text[end:begins], BLANK]
            end = max(end, ends)
        return "".join([*shown, text[end:]])


class JsonLines(logging.Formatter):
    """One JSON object a line, redacted; control characters cannot break out of it."""

    def __init__(self, redactor: Redactor) -> None:
        super().__init__()
        self._redactor = redactor

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")[:23] + "Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": self._redactor.text(record.getMessage()),
        }
        if record.exc_info:
            line["trace"] = self._redactor.text(self.formatException(record.exc_info))
        return orjson.dumps({key: value.encode("utf-8", "replace").decode() for key, value in line.items()}).decode()
