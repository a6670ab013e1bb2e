"""The generated part of docs/data-model.md: `python -m towline_connectors.entities.docs docs/data-model.md`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

from towline_connectors.entities import REGISTRY, Entity, Field

BEGIN: Final = "<!-- generated from the entities: begin -->"
END: Final = "<!-- generated from the entities: end -->"

_TYPES: Final = {
    "text": "text",
    "integer": "integer",
    "number": "number",
    "boolean": "true or false",
    "time": "time",
    "texts": "list of texts",
    "json": "JSON",
    "ref": "key",
}


def markdown() -> str:
    """One section an entity."""
    return "\n".join(_section(entity) for entity in REGISTRY.values())


def _section(entity: Entity) -> str:
    lines = [f"### {entity.name}", "", f"Table `{entity.table}`. {entity.description}", ""]
    lines += ["| column | type | meaning |", "|---|---|---|"]
    lines += [f"| `{field.column}` | {_type(field)} | {_meaning(field)} |" for field in entity.fields]
    return "\n".join([*lines, ""])


def _type(field: Field) -> str:
    if field.type != "ref":
        return _TYPES[field.type]
    return f"key of {field.ref}" if field.ref else "key"


def _meaning(field: Field) -> str:
    if not field.enum:
        return field.description
    return f"{field.description} {', '.join(f'{number} {caption}' for number, caption in field.enum)}"


def replaced(text: str) -> str:
    """The document with its generated part made anew. ValueError when it has no marks for it."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the document needs the lines {BEGIN} and {END}")
    return f"{before}{BEGIN}\n\n{markdown()}\n{END}{after}"


if __name__ == "__main__":
    path = Path(sys.argv[1])
    path.write_text(replaced(path.read_text()))
