"""Finds the connector that a kit command speaks of: a bundled one by name, or a folder or manifest by its path."""

from __future__ import annotations

import json
import logging
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from towline.api.connector import Connector
from towline.cli import connectors
from towline.cli.errors import CliError
from towline.cli.manifests import Document, parse

MANIFEST = "connector.yaml"


@dataclass(frozen=True, slots=True)
class Found:
    """`folder` holds README.md and simulator.py, if there are such."""

    name: str
    path: Path
    folder: Path
    bundled: bool

    def document(self) -> Document:
        """Raises CliError: no YAML, or no Connector in it."""
        documents = parse(self.path.read_bytes(), str(self.path))
        found = [document for document in documents if document.kind == "Connector"]
        if len(found) != 1:
            raise CliError(f"{self.path} holds {len(found) or 'no'} Connectors; one is expected.")
        return found[0]

    def connector(self) -> Connector:
        """Raises CliError with what is wrong."""
        return connectors.parsed(self.document())


def find(name: str) -> Found:
    """The connector called `name`, or in the folder or file `name`. Raises CliError."""
    path = Path(name)
    if path.is_dir() and (path / MANIFEST).is_file():
        return _at(path / MANIFEST)
    if path.is_file():
        return _at(path)
    bundled = connectors.bundled()
    if name in bundled:
        return Found(name, bundled[name], bundled[name].parent, bundled=True)
    if not path.is_dir() and ("/" in name or path.suffix in (".yaml", ".yml")):
        raise CliError(f"There is no manifest {name}.", f"Give a folder with {MANIFEST}, a file, or a bundled name.")
    if path.is_dir():
        raise CliError(f"The folder {name} holds no {MANIFEST}.", "Give a folder with one, a file, or a bundled name.")
    raise connectors.unknown(name, bundled, f"One of your own: give its folder, with {MANIFEST} in it, or the file.")


def _at(path: Path) -> Found:
    bundled = {file.resolve(): name for name, file in connectors.bundled().items()}
    resolved = path.resolve()
    return Found(bundled.get(resolved, resolved.parent.name), path, resolved.parent, bundled=resolved in bundled)


def quiet() -> None:
    """The engine's log is for pods: here it is silent unless TOWLINE_DEBUG=1."""
    if os.environ.get("TOWLINE_DEBUG", "") in ("", "0"):
        logging.getLogger("towline").addHandler(logging.NullHandler())
        logging.getLogger("towline").propagate = False


def settings(connector: Connector, given: tuple[str, ...], option: str) -> dict[str, Any]:
    """KEY=VALUE texts as values of the types that the connector's schema names. Raises CliError."""
    properties = (connector.spec.config_schema or {}).get("properties") or {}
    found: dict[str, Any] = {}
    for setting in given:
        key, separator, text = setting.partition("=")
        if not separator or not key:
            raise CliError(f'{option} takes KEY=VALUE; "{setting}" has no value.')
        if key not in properties:
            known = ", ".join(properties) or "none"
            raise CliError(f'{option}: there is no setting "{key}"; there are {known}.')
        kind = (properties[key] or {}).get("type")
        if kind in (None, "string"):
            found[key] = text
            continue
        try:
            found[key] = json.loads(text)
        except ValueError:
            if kind != "array":
                raise CliError(f'{option} {key}: "{text}" is not of type {kind}.') from None
            found[key] = [part.strip() for part in text.split(",")]
    return found
