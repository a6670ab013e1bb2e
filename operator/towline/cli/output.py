"""What the terminal sees: data on stdout, talk on stderr, colour only where it is wanted."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import sys
import textwrap
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Any, TextIO

_COLOURS = {"✔": "\x1b[32m", "✗": "\x1b[31m", "►": "\x1b[36m", "◎": "\x1b[36m", "!": "\x1b[33m"}
_PLAIN = {"✔": "ok", "✗": "error:", "►": ">", "◎": "..", "→": "->", "…": "...", "·": "-"}
KEPT_NAME = 14  # columns that stay of a cell, however narrow the terminal is: it then wraps
LEAST_PROSE = 24  # columns that a message keeps while names are still whole
_COMMAND = re.compile(r"(?<=: )(kubectl|towline|helm) \S.*$")
LEAST_MESSAGE = 16  # where names alone fill the line
_BELOW = " " * 4  # before a sentence that stands below its row
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


def coloured(line: str) -> str:
    """A line of stdout whose first character is a mark such as ✔."""
    colour = _COLOURS.get(line[:1], "")
    return f"{colour}{line[:1]}{_RESET}{line[1:]}" if colour and colours(sys.stdout) else line


def speak_unicode() -> None:
    """Output in an encoding that lacks our marks and people's names must not end in an error: a file or a pipe gets
    UTF-8, as from kubectl; a terminal gets a question mark in their place."""
    if isinstance(sys.stdout, io.TextIOWrapper) and not _speaks_utf8(sys.stdout):
        if sys.stdout.isatty():
            sys.stdout.reconfigure(errors="replace")
        else:
            sys.stdout.reconfigure(encoding="utf-8")


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
    margin = " " * (display_width(symbol if _speaks_utf8(stream) else mark) + 1)
    text = f"\n{margin}".join(_lines(text, terminal_width(stream), len(margin)))
    print(f"{os.environ.get(TALK_PREFIX, '')}{mark} {text}", file=stream, flush=True)


def _lines(text: str, width: int | None, margin: int) -> list[str]:
    """Talk as it fits a terminal, broken between words. A command at its end is for copying: it stays whole, on a line
    of its own."""
    if width is None or margin + display_width(text) <= width or width - margin < LEAST_PROSE:
        return [text]
    found = _COMMAND.search(text)
    prose, command = (text[: found.start()], [text[found.start() :]]) if found else (text, [])
    return [*textwrap.wrap(prose, width - margin, break_long_words=False, break_on_hyphens=False), *command]


def _speaks_utf8(stream: TextIO) -> bool:
    return (stream.encoding or "").lower().replace("-", "") == "utf8"


def table(
    headers: Sequence[str],
    rows: Iterable[Sequence[Any]],
    *,
    width: int | None = None,
    whole: int = 0,
    prose: bool = False,
    spare: Sequence[str] = (),
) -> str:
    """Columns as kubectl prints them. None as `width` cuts nothing.

    So that a line fits `width`, the columns named in `spare` are left out, one after another; then cells are cut, names
    not below KEPT_NAME, the first `whole` columns never. With `prose` the last column holds sentences: they are not cut
    but go on in the next line, or stand below their row where names leave too little beside them. A last column without
    any text is left out where a width is given."""
    lines = [[_cell(value) for value in row] for row in rows]
    while width is not None and len(headers) > 1 and lines and not any(line[-1] for line in lines):
        headers, lines, prose = headers[:-1], [line[:-1] for line in lines], False
    for name in spare:
        if width is None or name not in headers or _needed(headers, lines) <= width:
            continue
        at = list(headers).index(name)
        whole -= at < whole
        headers, lines = [*headers[:at], *headers[at + 1 :]], [[*line[:at], *line[at + 1 :]] for line in lines]
    columns = [[header.upper(), *(line[index] for line in lines)] for index, header in enumerate(headers)]
    widths = [max(map(display_width, column)) for column in columns]
    if width is not None:
        least = [max(display_width(header), min(size, KEPT_NAME)) for header, size in zip(headers, widths, strict=True)]
        least[-1] = min(widths[-1], LEAST_MESSAGE) if prose else display_width(headers[-1])
        kept = min(whole, len(headers) - 1) if prose else whole
        least[:kept] = widths[:kept]
        narrow = _shrunk(widths, least, width)
        if prose and narrow[-1] < min(widths[-1], LEAST_PROSE):
            return _with_prose_below(headers, lines, width, whole)
        widths = narrow
    printed = []
    for line in [[header.upper() for header in headers], *lines]:
        cut = prose and width is not None
        ends = textwrap.wrap(line[-1], widths[-1], break_long_words=False, break_on_hyphens=False) if cut else []
        first, *others = ends or [line[-1]]
        printed.append([*line[:-1], first])
        printed += [[*[""] * (len(line) - 1), other] for other in others]
    if prose:
        widths[-1] = 0
    return "\n".join(
        "   ".join(_fit(cell, size) if size else cell for cell, size in zip(row, widths, strict=True)).rstrip()
        for row in printed
    )


def _with_prose_below(headers: Sequence[str], lines: list[list[str]], width: int, whole: int) -> str:
    head, *rows = table(headers[:-1], [line[:-1] for line in lines], width=width, whole=whole).split("\n")
    for row, line in zip(rows, lines, strict=True):
        head = f"{head}\n{row}"
        for text in textwrap.wrap(line[-1], width - len(_BELOW), break_long_words=False, break_on_hyphens=False):
            head = f"{head}\n{_BELOW}{text}"
    return head


def _needed(headers: Sequence[str], lines: list[list[str]]) -> int:
    """How wide a terminal has to be for the table, with as little of its last column as can be read."""
    sizes = [max(map(display_width, [header, *(line[at] for line in lines)])) for at, header in enumerate(headers)]
    sizes[-1] = min(sizes[-1], LEAST_PROSE)
    return sum(sizes) + 3 * (len(sizes) - 1)


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


def print_document(value: Any, output: str) -> None:
    """A value as `json` or `yaml`."""
    if output == "json":
        print_json(value)
        return
    import yaml

    print(yaml.safe_dump(value, allow_unicode=True, sort_keys=False), end="")  # escapes what is not to be printed


def prose(text: str, indent: int = 0, label: str = "") -> str:
    """A sentence after `label`, wrapped between words where stdout is a terminal, its lines below each other."""
    text = printable(text)
    width, margin = terminal_width(sys.stdout), " " * (indent + display_width(label))
    if width is None or width - len(margin) < LEAST_PROSE:
        return " " * indent + label + text
    lines = textwrap.wrap(text, width - len(margin), break_long_words=False, break_on_hyphens=False) or [""]
    return " " * indent + label + f"\n{margin}".join(lines)


def number(value: int) -> str:
    """12345 as 12,345."""
    return f"{value:,}"


def misfits(count: int) -> str:
    """What is said of records that were rejected; the command that shows them follows."""
    return f"{number(count)} {'record does' if count == 1 else 'records do'} not fit and stayed out; why"


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
