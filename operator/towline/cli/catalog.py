"""`towline catalog`: which systems can be connected."""

from __future__ import annotations

import sys
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

import click

from towline.cli.output import print_json, program, say, table, terminal_width

if TYPE_CHECKING:
    from towline.api.connector import Connector

WITH_STREAMS = 110  # columns of a terminal from which on streams are listed


@click.command()
@click.argument("words", nargs=-1, metavar="[SEARCH]...")
@click.option("-o", "--output", type=click.Choice(["table", "json", "name"]), default="table", show_default=True)
def catalog(words: tuple[str, ...], output: str) -> None:
    """List the bundled connectors; with SEARCH those that hold every word of it.

    Searched are name, title, vendor, category, description, streams and entities.
    """
    from towline.cli.connectors import bundled, read

    if words[:1] == ("search",) and len(words) > 1:
        words = words[1:]
    known = bundled()
    connectors = [connector for connector in map(read, known.values()) if _matches(connector, words)]
    if output == "json":
        print_json([_facts(connector) for connector in connectors])
    elif output == "name":
        for connector in connectors:
            click.echo(connector.metadata["name"])
    elif connectors:
        rows, width = [_row(_facts(connector)) for connector in connectors], terminal_width(sys.stdout)
        headers = ["name", "title", "category", "stage", "streams"]
        if width is not None and width < WITH_STREAMS:  # a word of the first stream helps nobody
            headers, rows = headers[:-1], [row[:-1] for row in rows]
        click.echo(table(headers, rows, width=width, whole=1, spare=("stage",)))  # the name is to be typed
        say("►", f"What one needs and gives: {program()} explain NAME")
    if not connectors:
        near = get_close_matches(" ".join(words).lower(), list(known), n=3, cutoff=0.6)
        cure = f"Did you mean {', '.join(near)}?" if near else f"All of them: {program()} catalog"
        say("!", f'No connector matches "{" ".join(words)}". {cure}')


def _facts(connector: Connector) -> dict[str, Any]:
    spec = connector.spec
    streams = spec.streams or []
    return {
        "name": connector.metadata["name"],
        "title": spec.title,
        "vendor": spec.vendor,
        "category": spec.category,
        "stage": spec.stage,
        "version": spec.version,
        "description": spec.description,
        "streams": [stream.name for stream in streams],
        "entities": list(dict.fromkeys(emit.entity for stream in streams for emit in stream.emit or [])),
        "credentials": [key.key for key in spec.credentials or []],
    }


def _row(facts: dict[str, Any]) -> list[str]:
    return [facts["name"], facts["title"], facts["category"], facts["stage"], " ".join(facts["streams"])]


def _matches(connector: Connector, words: tuple[str, ...]) -> bool:
    facts = _facts(connector)
    texts = [facts[key] or "" for key in ("name", "title", "vendor", "category", "description")]
    haystack = " ".join([*texts, *facts["streams"], *facts["entities"]]).casefold()
    return all(word.casefold() in haystack for word in words)
