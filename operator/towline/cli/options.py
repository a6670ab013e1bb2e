"""Options that several verbs have in common."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

Option = Callable[[Any], Any]


def files(text: str) -> Option:
    """-f: manifests, as `files`."""
    return click.option("-f", "--file", "files", multiple=True, type=click.Path(), metavar="FILE", help=text)


def streams(offered: Callable[..., list[str]], metavar: str = "STREAM") -> Option:
    """--stream, as `streams`; `offered` tells what Tab offers."""
    return click.option("--stream", "streams", multiple=True, metavar=metavar, help="Only this stream. Repeatable.",
                        shell_complete=offered)  # fmt: skip


config = click.option("--set", "settings", multiple=True, metavar="KEY=VALUE",
                      help="A setting (spec.config). Repeatable.")  # fmt: skip
connector_files = click.option("--connector-file", multiple=True, type=click.Path(), metavar="FILE",
                               help="A Connector manifest. Repeatable.")  # fmt: skip
