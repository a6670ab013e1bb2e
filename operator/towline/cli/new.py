"""`towline new`: an Integration and its Secret for one account, checked before they are printed."""

from __future__ import annotations

import re
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from towline.cli import completing, options
from towline.cli.errors import CliError
from towline.cli.output import program, say

if TYPE_CHECKING:
    from towline.api.connector import Connector


@click.command()
@click.argument("connector", shell_complete=completing.connectors)
@click.argument("name", required=False)
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="A setting of the connector. Repeatable.")
@click.option("-n", "--namespace", metavar="NAME", help="Namespace to write into the manifests.")
@click.option("--interval", metavar="DURATION", help="Sync every 15m, 1h, 1d …; 1h if left out.")
@click.option("--cron", metavar="EXPRESSION", help='Instead of --interval, for example "*/30 6-20 * * 1-5".')
@click.option("--time-zone", metavar="ZONE", help="With --cron, for example Europe/Paris.")
@options.streams(completing.connector_streams, "NAME")
@click.option("--existing-secret", metavar="NAME", help="Use a Secret that is there, and print none.")
@click.option("--write", type=click.Path(dir_okay=False), metavar="FILE", help="Into a new file instead of the output.")
@options.files("A file that holds the Connector.")
def new(
    connector: str,
    name: str | None,
    settings: tuple[str, ...],
    namespace: str | None,
    interval: str | None,
    cron: str | None,
    time_zone: str | None,
    streams: tuple[str, ...],
    existing_secret: str | None,
    write: str | None,
    files: tuple[str, ...],
) -> None:
    """Print an Integration of CONNECTOR called NAME, and the Secret that it needs.

    On a terminal it asks for the settings that are missing. It never asks for a credential: the Secret has places to
    fill in, so that none ends up in a shell's history. Nothing is applied.
    """
    from towline.cli.connectors import load
    from towline.cli.examples import manifests, to_yaml
    from towline.cli.manifests import read_all

    found = load(connector, read_all(list(files)))
    config = _settings(found, _pairs(settings))
    objects = manifests(found, name=name, config=config)
    integration = objects[-1]
    if existing_secret and len(objects) > 1:
        objects = [integration]
        integration["spec"]["credentials"] = {"secretRef": {"name": existing_secret}}
    integration["spec"]["schedule"] = _schedule(interval, cron, time_zone)
    if streams:
        integration["spec"]["streams"] = [{"name": stream} for stream in streams]
    if namespace:
        for item in objects:
            item["metadata"] = {"name": item["metadata"].pop("name"), "namespace": namespace, **item["metadata"]}
    text = to_yaml(objects)
    _refuse_what_is_wrong(text)
    if write is None:
        click.echo(text, nl=False)
    else:
        _write(Path(write), text)
    if len(objects) > 1:
        say("►", "Fill in the Secret, or leave it out where a secret store makes it.")
    elif existing_secret and (hosts := _hosts(found, config)):
        say("►", f'The Secret "{existing_secret}" has to allow the host: annotation towline.dev/allowed-hosts: {hosts}')
    say("►", f"Try it from here: {program()} test -f {write or 'FILE'}")


def _settings(connector: Connector, given: dict[str, str]) -> dict[str, Any]:
    """The settings for `spec.config`, in the types of the connector's schema; asks for what is missing."""
    from towline.cli.examples import example_config

    schema = connector.spec.config_schema or {}
    properties: dict[str, Any] = schema.get("properties") or {}
    for key in given:
        if key not in properties:
            known = ", ".join(properties) or "none"
            raise CliError(f"{connector.metadata['name']} has no setting {key}; it has: {known}.")
    config: dict[str, Any] = {key: _typed(key, value, properties[key]) for key, value in given.items()}
    for key, example in example_config(connector).items():
        if key in config:
            continue
        if not sys.stdin.isatty():
            raise CliError(
                f"The setting {key} is missing: {_about(properties[key]) or 'the connector needs it'}",
                f"Give it with --set {key}=VALUE, for example --set {key}={example}",
            )
        question = f"{key} ({_about(properties[key]) or 'required'})"
        take = partial(_answer, key, properties[key])
        config[key] = click.prompt(question, default=str(example), value_proc=take, err=True)
    return config


def _answer(key: str, schema: dict[str, Any], text: str) -> Any:
    """The value of an answer; click asks again after a UsageError."""
    from towline.core.config import check

    try:
        value = _typed(key, text, schema)
    except CliError as error:
        raise click.UsageError(str(error)) from None
    if problems := check({"type": "object", "properties": {key: schema}}, {key: value}):
        raise click.UsageError("; ".join(problem.removeprefix("config.") for problem in problems))
    return value


def _about(schema: dict[str, Any]) -> str:
    return " ".join(str(schema.get("description") or schema.get("title") or "").split())


def _typed(key: str, value: str, schema: dict[str, Any]) -> Any:
    import yaml

    kind = schema.get("type", "string")
    if kind == "string":
        return value
    if kind == "array" and not value.startswith("["):
        return [item.strip() for item in value.split(",") if item.strip()]
    try:
        return yaml.safe_load(value)
    except yaml.YAMLError:
        raise CliError(f'The setting {key} is of type {kind}; "{value}" is none.') from None


def _pairs(settings: tuple[str, ...]) -> dict[str, str]:
    pairs = {}
    for setting in settings:
        key, separator, value = setting.partition("=")
        if not separator:
            raise click.UsageError(f'--set takes KEY=VALUE; got "{setting}".')
        pairs[key.strip()] = value
    return pairs


def _schedule(interval: str | None, cron: str | None, time_zone: str | None) -> dict[str, str]:
    if cron and interval:
        raise click.UsageError("Give --interval or --cron, not both.")
    if time_zone and not cron:
        raise click.UsageError("--time-zone goes with --cron.")
    if not cron:
        return {"interval": interval or "1h"}
    return {"cron": cron, **({"timeZone": time_zone} if time_zone else {})}


def _hosts(connector: Connector, config: dict[str, Any]) -> str:
    from towline.cli.examples import chosen_hosts

    return ",".join(chosen_hosts(connector, config))


def _refuse_what_is_wrong(text: str) -> None:
    """The same checks as `towline validate`: nothing is printed that would be refused."""
    from towline.cli.checking import check
    from towline.cli.manifests import parse

    problems = [problem for finding in check(parse(text.encode(), "new")) for problem in finding.problems]
    if problems:  # of a text that nobody has seen: no line numbers
        told = [re.sub(r"^new(:\d+)?: ", "", problem) for problem in problems]
        raise CliError("These manifests would be refused.", *told)


def _write(path: Path, text: str) -> None:
    try:
        with path.open("x", encoding="utf-8") as file:  # never over a file that holds somebody's credentials
            path.chmod(0o600)
            file.write(text)
    except FileExistsError:
        raise CliError(f"{path} is there already.", "Choose another file, or remove it.") from None
    except OSError as error:
        raise CliError(f"Cannot write {path}: {error.strerror}.") from None
    say("✔", f"wrote {path}")
