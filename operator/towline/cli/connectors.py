"""Finds connectors: bundled ones by name, others in manifests that the user gives."""

from __future__ import annotations

from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError

from towline.api.connector import Connector
from towline.cli.errors import CliError
from towline.cli.manifests import Document
from towline.cli.output import program

if TYPE_CHECKING:
    from collections.abc import Iterable


def bundled() -> dict[str, Path]:
    """Manifests of the bundled connectors by name."""
    from towline_connectors.catalogue import manifests

    return dict(sorted(manifests().items()))


def load(name: str, documents: Iterable[Document] = ()) -> Connector:
    """The Connector `name`, from `documents` first. Raises CliError with near names when there is none."""
    own = [document for document in documents if document.kind == "Connector" and document.known]
    for document in own:
        if document.name == name:
            return parsed(document)
    paths = bundled()
    if name not in paths:
        raise unknown(name, [*paths, *(document.name for document in own)])
    return read(paths[name])


def read(path: Path) -> Connector:
    """The Connector in a bundled file. Tests have found it right, so it needs no parser that knows lines: libyaml's,
    where it is there, reads all of them in a sixth of the time."""
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    return Connector.model_validate(yaml.load(path.read_bytes(), Loader=loader))  # noqa: S506  a safe one


def parsed(document: Document) -> Connector:
    try:
        return Connector.model_validate(document.data)
    except ValidationError as error:
        from towline.api.explain import explain
        from towline.cli.lines import located

        problems = located(document, explain(error, document.source))
        raise CliError(f'Connector "{document.name}" is not valid.', *problems) from None


OWN = "One of your own: put its Connector manifest among the files."


def unknown(name: str, known: Iterable[str], own: str = OWN) -> CliError:
    """What to say of a connector that is none; `own` tells how to name one that is not bundled."""
    names, asked = list(known), name.lower()
    # One letter or two are in nearly every name.
    near = [one for one in names if len(asked) > 2 and asked in one] or get_close_matches(asked, names, n=3, cutoff=0.6)
    cure = [f"Did you mean {', '.join(near)}?"] if near else []
    return CliError(
        f'There is no connector "{name}".',
        *cure,
        own,
        f"All bundled ones: {program()} catalog",
    )
