"""What a YAML parser complains of, as what a person did and writes instead."""

from __future__ import annotations

import re

import yaml

_MAX_NODES = 200_000
"""Nodes of one document, those behind aliases counted wherever they stand. The largest manifests have thousands."""
_SAYINGS: tuple[tuple[str, str], ...] = (
    (r"character '\\t'", "a line is indented with a tab; use spaces"),
    (r"character '(.)' that cannot start", 'a text that begins with \\1 needs quotes: "\\1…"'),
    (
        r"mapping values are not allowed",
        "a text with a colon and a blank in it needs quotes, and the lines of one object begin in the same column",
    ),
    (
        r"expected ',' or '[}\]]'",
        'between {…} or […] a text with {, }, [, ] or a comma needs quotes, as in "${config.x}"',
    ),
    (r"expected alphabetic or numeric character", "a text that begins with * or & needs quotes"),
    (r"undefined alias '(.*?)'", "there is no &\\1 that *\\1 could stand for; a text that begins with * needs quotes"),
    (r"constructor for the tag", "tags (!…) have no meaning here; a text that begins with ! needs quotes"),
    (r"stands twice", "\\g<0>; remove one"),
    (r"unexpected end of stream", "a quote is opened and not closed"),
    (r"expected <block end>", "the lines of one list or object have to begin in the same column"),
    (r"could not find expected ':'", "a key is followed by a colon and a blank"),
    (r"found duplicate anchor", "the anchor is there twice; name it otherwise"),
    (r"merging", "<<: takes an object, or a list of them"),
)


def words(error: yaml.MarkedYAMLError) -> str:
    """What is wrong and how to write it, without a full stop."""
    problem = error.problem or error.context or "it ends too early"
    whole = f"{problem} {error.context or ''}"
    for pattern, saying in _SAYINGS:
        found = re.search(pattern, whole)
        if found:
            said = found.expand(saying)
            return f"{problem}; remove one" if pattern == "stands twice" else said
    return problem


def bounded(node: yaml.Node) -> bool:
    """Whether a document stays small when its aliases are written out."""
    sizes: dict[int, int] = {}
    return _size(node, sizes) <= _MAX_NODES


def _size(node: yaml.Node, sizes: dict[int, int]) -> int:
    known = sizes.get(id(node))
    if known is not None:
        return known
    sizes[id(node)] = _MAX_NODES + 1  # within itself: without an end
    total = 1
    if isinstance(node, yaml.MappingNode):
        total += sum(_size(key, sizes) + _size(value, sizes) for key, value in node.value)
    elif isinstance(node, yaml.SequenceNode):
        total += sum(_size(item, sizes) for item in node.value)
    sizes[id(node)] = min(total, _MAX_NODES + 1)
    return sizes[id(node)]
