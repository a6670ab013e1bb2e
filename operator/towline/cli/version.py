"""`towline version`."""

from __future__ import annotations

import os
import platform
from importlib.metadata import version as installed

import click

from towline.cli.output import print_json


@click.command()
@click.option("-o", "--output", type=click.Choice(["text", "json"]), default="text", show_default=True)
def version(output: str) -> None:
    """Print the version of Towline, of its API and of Python; in an image also the commit that it was made from."""
    from towline.api.base import API_VERSION

    facts = {"towline": installed("towline"), "api": API_VERSION, "python": platform.python_version()}
    if revision := os.environ.get("TOWLINE_REVISION"):
        facts["revision"] = revision
    if output == "json":
        print_json(facts)
    else:
        commit = f", commit {revision[:12]}" if revision else ""
        click.echo(f"towline {facts['towline']} (API {facts['api']}, Python {facts['python']}{commit})")
