"""Gives each problem of a manifest the line at which it stands."""

from __future__ import annotations

import re
from collections.abc import Iterable

import yaml

from towline.cli.manifests import Document

_TOKEN = re.compile(r'\.?(?P<name>[A-Za-z_$][\w$-]*)|\[(?P<index>\d+)\]|\["(?P<quoted>[^"]*)"\]|\[(?P<item>[^\]]+)\]')
_MERGE = "tag:yaml.org,2002:merge"


def located(document: Document, problems: Iterable[str]) -> list[str]:
    """`connector.yaml:12: spec.http.auth: …` for problems that begin with a path, perhaps behind the source."""
    return [_located(document, problem) for problem in problems]


def _located(document: Document, problem: str) -> str:
    text = problem.removeprefix(f"{document.source}: ")
    file = document.source.rpartition(":")[0] if re.search(r":\d+$", document.source) else document.source
    line = line_of(document, text)
    return f"{file}:{line}: {text}" if line else problem


def line_of(document: Document, path: str) -> int | None:
    """The line of what a path names (`spec.streams[users].records`), or of what it stands in; None: it names nothing
    that is there. What follows the path does not matter. List items are named by number, name, key or entity."""
    if document.node is None:
        return None
    tokens = _tokens(path)
    best: int | None = None
    depth = 0
    for start in (["spec"], []):
        line, deep = _walk(document.node, [*start, *tokens])
        if line is not None and deep - len(start) > depth:
            best, depth = line, deep - len(start)
    return best


def _tokens(path: str) -> list[str]:
    found: list[str] = []
    at = 0
    while matched := _TOKEN.match(path, at):
        found.append(next(value for value in matched.groupdict().values() if value is not None))
        at = matched.end()
    return found


def _walk(node: yaml.Node, tokens: list[str]) -> tuple[int | None, int]:
    """(line, how many tokens were found)."""
    line: int | None = None
    for number, token in enumerate(tokens):
        following = _step(node, token)
        if following is None:
            return line, number
        line, node = following
    return line, len(tokens)


def _step(node: yaml.Node, token: str) -> tuple[int, yaml.Node] | None:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value == token and key.tag != _MERGE:
                return key.start_mark.line + 1, value
        merged = [value for key, value in node.value if key.tag == _MERGE]
        flat = [each for value in merged for each in (value.value if isinstance(value, yaml.SequenceNode) else [value])]
        return next((found for value in flat if (found := _step(value, token)) is not None), None)
    if isinstance(node, yaml.SequenceNode):
        for number, item in enumerate(node.value):
            if token == str(number) or token in _names(item):
                return item.start_mark.line + 1, item
    return None


def _names(item: yaml.Node) -> set[str]:
    if not isinstance(item, yaml.MappingNode):
        return {item.value} if isinstance(item, yaml.ScalarNode) else set()
    return {
        str(value.value)
        for key, value in item.value
        if key.value in ("name", "key", "entity") and isinstance(value, yaml.ScalarNode)
    }
