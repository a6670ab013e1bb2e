"""The fenced blocks of the documentation, and the commands in them."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *ROOT.glob("docs/**/*.md"), *ROOT.glob("examples/**/*.md"),
     *ROOT.glob("charts/**/*.md")]
)  # fmt: skip
_FENCE = re.compile(
    r"^(?P<indent> *)```(?P<kind>[\w-]*)(?: (?P<extra>[^\n]+))?\n(?P<text>.*?)^(?P=indent)```$",
    re.MULTILINE | re.DOTALL,
)
_MARK = re.compile(r"<!-- not run: (?P<why>[^>]+) -->\s*$")
SHELLS = ("bash", "sh", "console", "shell")


@dataclass(frozen=True)
class Block:
    page: Path
    line: int
    kind: str
    extra: str
    text: str
    not_run: str
    """Why no test runs it, as the page's source says in `<!-- not run: … -->` before the block."""

    @property
    def place(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"

    def commands(self) -> list[list[str]]:
        """The words of each command; pipes, `&&` and the like part commands. Here-documents are left out."""
        return [words for line in self.lines() for words in parted(line)]

    def lines(self) -> Iterator[str]:
        """Each command as it is typed, with its pipes and comments."""
        lines = iter(self.text.replace("\\\n", " ").splitlines())
        for line in lines:
            stripped = line.strip()
            if self.kind == "console" or stripped.startswith("$ "):
                if not stripped.startswith("$ "):
                    continue  # what the command prints
                stripped = stripped[2:]
            if not stripped or stripped.startswith("#"):
                continue
            here = re.search(r"<<-?'?(\w+)'?", stripped)
            yield re.sub(r"<<-?'?\w+'?.*", "", stripped)
            if here:
                for inner in lines:
                    if inner.strip() == here[1]:
                        break


def blocks(page: Path) -> list[Block]:
    text = page.read_text("utf-8")
    found = []
    for match in _FENCE.finditer(text):
        mark = _MARK.search(text[: match.start()])
        line = text.count("\n", 0, match.start()) + 1
        body = re.sub(rf"^{match['indent']}", "", match["text"], flags=re.MULTILINE)
        found.append(Block(page, line, match["kind"], match["extra"] or "", body, mark["why"].strip() if mark else ""))
    return found


def all_blocks(*kinds: str) -> list[Block]:
    return [block for page in PAGES for block in blocks(page) if not kinds or block.kind in kinds]


def inline_lines(page: Path) -> list[str]:
    """Commands in `code` within sentences: those that begin with a program of ours or of Kubernetes, and have more
    than a verb."""
    text = _FENCE.sub("", page.read_text("utf-8"))
    found = re.findall(r"(?<!`)`((?:kubectl towline|towline|kubectl|helm|make) [^`\n]+)`(?!`)", text)
    return [one for one in found if "…" not in one and "|" not in one]


def inline_commands(page: Path) -> list[list[str]]:
    """The words of each command within sentences."""
    return [words for one in inline_lines(page) for words in parted(one)]


def parted(line: str) -> list[list[str]]:
    lexer = shlex.shlex(line, posix=True, punctuation_chars="|&;")
    lexer.whitespace_split = True
    lexer.commenters = "#"
    found: list[list[str]] = [[]]
    for word in lexer:
        if word and set(word) <= set("|&;"):
            found.append([])
        else:
            found[-1].append(word)
    return [_without_assignments(words) for words in found if _without_assignments(words)]


def _without_assignments(words: list[str]) -> list[str]:
    kept = [
        word
        for before, word in zip(["", *words], words, strict=False)
        if not re.match(r"^\d*[<>]", word) and before not in (">", ">>", "<")
    ]
    while kept and re.match(r"^[A-Z_]+=", kept[0]):
        kept = kept[1:]
    return kept[1:] if kept[:1] == ["export"] and len(kept) == 1 else kept
