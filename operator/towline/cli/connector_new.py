"""`towline connector new`: the folder of a new connector."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import click

from towline.cli import connector_schema
from towline.cli.errors import CliError
from towline.cli.output import program, say

_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")


@click.command()
@click.argument("name")
@click.option("--base-url", metavar="URL", help="What all paths of the API stand below.")
@click.option("--title", help="Name of the product, as people know it.")
@click.option("--auth", help="bearer, header, query, basic, oauth2 or none.")
@click.option("--paging", help="none, page, offset, cursor, next-url or link-header.")
@click.option("--category", help="Kind of product, for example CMDB.")
@click.option("--stream", help="Name of the first stream, for example devices.")
@click.option("--entity", help="What becomes of its records, for example asset.")
@click.option(
    "--folder", type=click.Path(), metavar="DIR", help="Where the connector's folder is made. Here, if left out."
)
def new(name: str, folder: str | None, **given: str | None) -> None:
    """Make the folder of connector NAME: connector.yaml, README.md and simulator.py.

    On a terminal, what is not given is asked for. The result passes lint and test; put the vendor's paths and names
    in the place of those that stand there.
    """
    from typing import get_args

    from towline.api.connector import Category
    from towline_connectors.kit import scaffold

    if not _NAME.fullmatch(name):
        raise CliError(f'"{name}" is no name for a connector: use lower-case letters, digits and single dashes.')
    target = Path(folder or ".") / name.replace("-", "_")
    if target.exists():
        raise CliError(f"{target} exists already.", "Choose another name, or remove it.")
    answers = _answers(name, given)
    if answers["category"] not in get_args(Category):
        raise CliError(f"--category is one of {', '.join(get_args(Category))}.")
    try:
        files = scaffold.files(scaffold.Choices(name=name, **answers))
    except ValueError as error:
        text = str(error)
        raise CliError(f"{text[:1].upper()}{text[1:]}.") from None
    where, schema = connector_schema.beside(target)
    files["connector.yaml"] = f"{connector_schema.LINE}{where}\n{files['connector.yaml']}"
    if schema is not None:
        files[where] = schema
    try:
        target.mkdir(parents=True)
        for file, content in files.items():
            (target / file).write_text(content, encoding="utf-8")
    except OSError as error:
        raise CliError(f"Cannot write {target}: {error.strerror or type(error).__name__}.") from None
    say("✔", f"{target} holds {', '.join(file for file, content in files.items() if content)}.")
    say("►", "An editor with a YAML language server completes and checks connector.yaml by its first line.")
    say("►", f"Check it:  {program()} connector lint {target}")
    say("►", f"Prove it:  {program()} connector test {target}")


def _answers(name: str, given: dict[str, str | None]) -> dict[str, Any]:
    defaults = {
        "base_url": f"https://api.{name}.example",
        "title": name.replace("-", " ").title(),
        "auth": "bearer",
        "paging": "none",
        "category": "Other",
        "stream": "devices",
        "entity": "asset",
    }
    asks = sys.stdin.isatty()
    answers: dict[str, Any] = {}
    for option, default in defaults.items():
        value = given.get(option)
        if value is None:
            value = click.prompt(_question(option), default=default, err=True) if asks else default
        answers[option] = value
    return answers


def _question(option: str) -> str:
    """What the option is, as --help says it."""
    found = next(one for one in new.params if one.name == option)
    return f"{option.replace('_', ' ')} ({str(getattr(found, 'help', '')).rstrip('.')})"
