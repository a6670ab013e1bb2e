"""`towline explain`: what a connector reads, needs and talks to."""

from __future__ import annotations

import json
import sys
import textwrap
from typing import TYPE_CHECKING, Any

import click

from towline.cli import completing, options
from towline.cli.output import print_json, printable, program, terminal_width

if TYPE_CHECKING:
    from towline.api.connector import Connector
    from towline.api.manifest import Stream


@click.command()
@click.argument("connector", shell_complete=completing.connectors)
@options.files("A file or folder that holds the Connector. Repeatable.")
@click.option("--example", is_flag=True, help="Print only the example manifests, to be saved and edited.")
@click.option("-o", "--output", type=click.Choice(["text", "json"]), default="text", show_default=True)
def explain(connector: str, files: tuple[str, ...], example: bool, output: str) -> None:
    """Tell what CONNECTOR reads, which credentials, rights and settings it needs, and which hosts it talks to.

    The text ends with an Integration and a Secret to copy.
    """
    from towline.cli.connectors import load
    from towline.cli.examples import manifests, to_yaml
    from towline.cli.manifests import read_all

    found = load(connector, read_all(list(files)))
    objects = manifests(found)
    if output == "json":
        print_json({**facts(found), "example": objects})
    elif example:
        click.echo(to_yaml(objects), nl=False)
    else:
        click.echo(text(found, terminal_width(sys.stdout) or 100))
        click.echo(f"\nEXAMPLE ({program()} explain {connector} --example > {connector}.yaml)\n")
        click.echo(to_yaml(objects), nl=False)


def facts(connector: Connector) -> dict[str, Any]:
    """All that the text shows, for programs."""
    spec = connector.spec
    schema = spec.config_schema or {}
    required = schema.get("required") or []
    return {
        "name": connector.metadata["name"],
        "title": spec.title,
        "vendor": spec.vendor,
        "category": spec.category,
        "stage": spec.stage,
        "version": spec.version,
        "description": spec.description,
        "documentationURL": spec.documentation_url,
        "credentials": [
            {"key": k.key, "title": k.title, "description": k.description, "optional": bool(k.optional)}
            for k in spec.credentials or []
        ],
        "config": [
            {
                "key": key,
                "type": entry.get("type"),
                "required": key in required and "default" not in entry,
                "default": entry.get("default"),
                "enum": entry.get("enum"),
                "description": entry.get("description") or entry.get("title"),
            }
            for key, entry in (schema.get("properties") or {}).items()
        ],
        "streams": [_stream(stream) for stream in spec.streams or []],
        "hosts": list(spec.egress or []),
    }


def _stream(stream: Stream) -> dict[str, Any]:
    deletes = stream.sync.deletes
    return {
        "name": stream.name,
        "description": stream.description,
        "permission": stream.permission,
        "optional": bool(stream.optional),
        "mode": stream.sync.mode,
        "fullEvery": stream.sync.full_every,
        "findsDeletions": bool(deletes and (deletes.tombstone or (deletes.complete_scan or "Never") != "Never")),
        "entities": list(dict.fromkeys(emit.entity for emit in stream.emit or [])),
    }


def text(connector: Connector, width: int = 100) -> str:
    """The page for people, wrapped at `width` columns."""
    known = facts(connector)
    vendor = f" by {known['vendor']}" if known["vendor"] and known["vendor"] not in known["title"] else ""
    lines = [f"{known['name']}: {known['title']}{vendor} ({known['category']}, {known['stage']}, {known['version']})"]
    lines += textwrap.wrap(_line(known["description"]), width) if known["description"] else []
    lines += [f"See {known['documentationURL']}"] if known["documentationURL"] else []
    for title, rows, empty in (
        ("CREDENTIALS (keys of the Secret)", map(_credential, known["credentials"]), "none"),
        ("SETTINGS (spec.config)", map(_setting, known["config"]), "none"),
        ("STREAMS", map(_stream_text, known["streams"]), "none"),
        ("HOSTS", map(_host, known["hosts"]), "none declared"),
    ):
        lines += ["", title, *(_columns(list(rows), width) or [f"  {empty}"])]
    return "\n".join(lines)


def _columns(rows: list[tuple[str, str]], width: int) -> list[str]:
    """A name, and beside it its text, wrapped."""
    margin = max((len(first) for first, _ in rows), default=0) + 5
    lines = []
    for first, rest in rows:
        wrapped = textwrap.wrap(rest, max(width - margin, 30), break_on_hyphens=False) or [""]
        lines.append(f"  {first}".ljust(margin) + wrapped[0])
        lines += [" " * margin + line for line in wrapped[1:]]
    return [line.rstrip() for line in lines]


def _credential(item: dict[str, Any]) -> tuple[str, str]:
    words = [item["description"] or item["title"] or "", "(optional)" if item["optional"] else ""]
    return item["key"], _line(" ".join(word for word in words if word))


def _setting(item: dict[str, Any]) -> tuple[str, str]:
    notes = [str(item["type"] or "any")]
    if item["enum"]:
        notes.append("one of " + ", ".join(map(str, item["enum"])))
    if item["required"]:
        notes.append("required")
    elif item["default"] is not None:
        notes.append(f"default {_value(item['default'])}")
    about = f" {_line(item['description'])}" if item["description"] else ""
    return item["key"], f"({', '.join(notes)}){about}"


def _stream_text(item: dict[str, Any]) -> tuple[str, str]:
    how = "Incremental" if item["mode"] == "Incremental" else "Always read in full"
    if item["fullEvery"] and item["mode"] == "Incremental":
        how += f", in full every {item['fullEvery']}"
    sentences = [f"→ {', '.join(item['entities'])}.", item["description"] or "", f"{how}."]
    if item["findsDeletions"]:
        sentences.append("Finds deletions.")
    if item["permission"]:
        sentences.append(f"Needs the right: {item['permission']}.")
    if item["optional"]:
        sentences.append("Left out where that is not allowed.")
    return item["name"], _line(" ".join(sentence for sentence in sentences if sentence))


def _host(entry: str) -> tuple[str, str]:
    if "${config." in entry:
        return entry, "yours to choose: the Secret has to allow it in the annotation towline.dev/allowed-hosts"
    return entry, ""


def _value(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, bool | list | dict) else str(value)


def _line(text: str) -> str:
    return printable(" ".join(text.split()))
