"""What the terminal sees: data on stdout, talk on stderr, colour only where it is wanted."""

from __future__ import annotations

import csv
import json
import os
import re
import sys
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Any, TextIO

_COLOURS = {"✔": "\x1b[32m", "✗": "\x1b[31m", "►": "\x1b[36m", "◎": "\x1b[36m", "!": "\x1b[33m"}
_PLAIN = {"✔": "ok", "✗": "error:", "►": ">", "◎": "..", "→": "->", "…": "...", "·": "-"}
KEPT_NAME = 14  # columns that stay of a cell, however narrow the terminal is: it then wraps
LEAST_PROSE = 24  # columns that a message keeps while names are still whole
_RESET = "\x1b[0m"
TALK_PREFIX = "TOWLINE_TALK_PREFIX"  # a pod's log has data and talk in one: the caller tells them apart by this


def program() -> str:
    """How the user called us: `towline`, or `kubectl towline` when kubectl started us as its plugin."""
    name = os.path.basename(sys.argv[0])
    if name.startswith(("kubectl-", "kubectl_")):
        return "kubectl " + name.removeprefix("kubectl-").removeprefix("kubectl_")
    return "towline"


def colours(stream: TextIO) -> bool:
    """Whether to colour: a terminal, not a dumb one, and NO_COLOR (https://no-color.org) not set."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def say(symbol: str, text: str) -> None:
    """One line of talk on stderr, for example `✔ done`."""
    stream = sys.stderr
    if _speaks_utf8(stream):
        mark = f"{_COLOURS[symbol]}{symbol}{_RESET}" if symbol in _COLOURS and colours(stream) else symbol
    else:
        mark = _PLAIN.get(symbol, symbol)
        for fancy, plain in _PLAIN.items():
            text = text.replace(fancy, plain)
        text = text.encode("ascii", "replace").decode()
    print(f"{os.environ.get(TALK_PREFIX, '')}{mark} {text}", file=stream, flush=True)


def _speaks_utf8(stream: TextIO) -> bool:
    return (stream.encoding or "").lower().replace("-", "") == "utf8"


def table(headers: Sequence[str], rows: Iterable[Sequence[Any]], *, width: int | None = None, whole: int = 0) -> str:
    """Columns as kubectl prints them. Cells are cut so that a line fits `width`, names not below KEPT_NAME, the first
    `whole` columns never; None cuts nothing. A last column without any text is left out where a width is given."""
    lines = [[_cell(value) for value in row] for row in rows]
    while width is not None and len(headers) > 1 and lines and not any(line[-1] for line in lines):
        headers, lines = headers[:-1], [line[:-1] for line in lines]
    columns = [[header.upper(), *(line[index] for line in lines)] for index, header in enumerate(headers)]
    widths = [max(map(display_width, column)) for column in columns]
    if width is not None:
        least = [max(display_width(header), min(size, KEPT_NAME)) for header, size in zip(headers, widths, strict=True)]
        least[-1] = display_width(headers[-1])
        least[:whole] = widths[:whole]
        widths = _shrunk(widths, least, width)
    printed = [[header.upper() for header in headers], *lines]
    return "\n".join("   ".join(_fit(cell, size) for cell, size in zip(row, widths, strict=True)).rstrip()
                     for row in printed)  # fmt: skip


def terminal_width(stream: TextIO) -> int | None:
    """Columns of the terminal, or None where the output goes into a file or a pipe."""
    if not stream.isatty():
        return None
    try:
        return int(os.environ.get("COLUMNS", "")) or None
    except ValueError:
        return os.get_terminal_size(stream.fileno()).columns or None


def print_rows(headers: Sequence[str], rows: Sequence[Sequence[Any]], output: str) -> None:
    """Rows on stdout as `table`, `json` (a list of objects) or `csv`."""
    if output == "json":
        print_json([dict(zip(headers, row, strict=True)) for row in rows])
    elif output == "csv":
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow(headers)
        writer.writerows([_spreadsheet_safe(value) for value in row] for row in rows)
    elif rows:
        print(table(headers, rows, width=terminal_width(sys.stdout)))


def print_json(value: Any) -> None:
    """JSON that people can read; control characters, which could steer a terminal, are escaped."""
    text = json.dumps(value, ensure_ascii=False, indent=2, default=str)
    print(re.sub(r"[\x7f-\x9f]", lambda match: f"\\u{ord(match.group()):04x}", text))


def number(value: int) -> str:
    """12345 as 12,345."""
    return f"{value:,}"


def duration(seconds: float) -> str:
    """3.2 s, 1m 12s, 2h 05m."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes}m {rest:02d}s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h {minutes:02d}m"


def printable(text: str) -> str:
    """`text` without control characters: data of a vendor must not steer the terminal."""
    return "".join(c if c.isprintable() else " " for c in text)


def display_width(text: str) -> int:
    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list | dict):
        value = json.dumps(value, ensure_ascii=False, default=str)
    return printable(str(value))


def _spreadsheet_safe(value: Any) -> Any:
    """Spreadsheets run cells that begin like a formula; a quote in front makes them text."""
    if isinstance(value, list | dict):
        return json.dumps(value, ensure_ascii=False, default=str)
    if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r"):
        return "'" + value
    return value


def _shrunk(widths: list[int], least: list[int], width: int) -> list[int]:
    """Take from the last column, which is prose, down to LEAST_PROSE; then from the widest ones, never below their
    header, until the line fits."""
    widths = list(widths)
    excess = sum(widths) + 3 * (len(widths) - 1) - width
    if excess > 0 and len(widths) > 1:
        taken = min(excess, max(0, widths[-1] - max(least[-1], LEAST_PROSE)))
        widths[-1] -= taken
        excess -= taken
    while excess > 0:
        index = max(range(len(widths)), key=lambda i: widths[i] - least[i])
        if widths[index] <= least[index]:
            break
        widths[index] -= 1
        excess -= 1
    return widths


def _fit(text: str, width: int) -> str:
    missing = width - display_width(text)
    if missing >= 0:
        return text + " " * missing
    while text and display_width(text) > width - 1:
        text = text[:-1]
    return text + "…" + " " * (width - 1 - display_width(text))
