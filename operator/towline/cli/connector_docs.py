"""`towline connector docs`: a connector's page, from its manifest."""

from __future__ import annotations

from pathlib import Path

import click

from towline.cli import completing
from towline.cli.errors import CliError
from towline.cli.output import say


@click.command()
@click.argument("name", shell_complete=completing.connectors_or_files)
@click.option("--write", type=click.Path(), metavar="FILE", help="Write it there instead of to standard output.")
def docs(name: str, write: str | None) -> None:
    """Print the page of connector NAME in Markdown: credentials, rights, settings, data, errors, limits.

    NAME is a bundled connector, a folder with connector.yaml, or a manifest.
    """
    from towline.cli.connector_files import find
    from towline_connectors.kit.page import page

    connector = find(name).connector()
    text = page(str(connector.metadata.get("name")), connector.spec)
    if write is None:
        click.echo(text, nl=False)
        return
    try:
        Path(write).write_text(text, encoding="utf-8")
    except OSError as error:
        raise CliError(f"Cannot write {write}: {error.strerror or type(error).__name__}.") from None
    say("✔", f"{write} is written.")
