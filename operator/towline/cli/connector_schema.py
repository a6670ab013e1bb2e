"""`towline connector schema`: what an editor completes and checks manifests by."""

from __future__ import annotations

import json
from pathlib import Path

import click

from towline.cli.errors import CliError
from towline.cli.output import say

LINE = "# yaml-language-server: $schema="
"""The first line of a manifest, by which editors with a YAML language server find the schema."""


@click.command()
@click.argument("kind", type=click.Choice(["connector", "integration", "syncjob"]), default="connector")
@click.option(
    "--write", "--file", "file", type=click.Path(), metavar="FILE", help="Write it there, instead of printing it."
)
def schema(kind: str, file: str | None) -> None:
    """Print the JSON schema of a KIND of manifest, for editors: fields are completed, explained and checked as one
    types.

    With --write it is written, and the line to put at the head of a manifest is printed.
    """
    text = text_of(kind)
    if file is None:
        click.echo(text, nl=False)
        return
    try:
        Path(file).write_text(text, encoding="utf-8")
    except OSError as error:
        raise CliError(f"Cannot write {file}: {error.strerror or type(error).__name__}.") from None
    say("✔", f"{file} describes the kind {kind}. The first line of a manifest beside it:")
    click.echo(f"{LINE}{Path(file).name}")


def text_of(kind: str) -> str:
    """The schema as JSON."""
    from towline.api.editor import editor_schema
    from towline.api.kinds import KINDS

    found = next(each for each in KINDS if each.name.lower() == kind)
    return json.dumps(editor_schema(found), indent=1, ensure_ascii=False) + "\n"


def beside(folder: Path) -> tuple[str, str | None]:
    """Where a connector's folder finds the schema, and its text where it has to be written there: in a checkout of
    Towline the generated one is at hand."""
    for number, parent in enumerate(folder.resolve().parents):
        if (parent / "crds" / "schemas" / "connector.json").is_file():
            return f"{'../' * (number + 1)}crds/schemas/connector.json", None
    return "connector.schema.json", text_of("connector")
