"""The normalised model fits together."""

from __future__ import annotations

from pathlib import Path

import pytest

from towline_connectors import entities
from towline_connectors.entities import REGISTRY, Entity, docs
from towline_connectors.sinks import schema

EVERY = pytest.mark.parametrize("entity", REGISTRY.values(), ids=REGISTRY.keys())


@EVERY
def test_no_column_stands_twice_in_a_table(entity: Entity) -> None:
    names = [name for name, _ in schema.entity_table(entity).columns]
    assert len(names) == len(set(names))


@EVERY
def test_references_name_entities_that_exist(entity: Entity) -> None:
    for field in entity.fields:
        assert field.ref is None or (field.type == "ref" and field.ref in REGISTRY)


@EVERY
def test_enumerations_have_unknown_and_no_number_or_caption_twice(entity: Entity) -> None:
    for field in entity.fields:
        if field.enum:
            assert field.type == "integer"
            assert 0 in dict(field.enum)
            assert len(dict(field.enum)) == len({caption.lower() for _, caption in field.enum}) == len(field.enum)


@EVERY
def test_everything_is_described(entity: Entity) -> None:
    assert entity.description.endswith(".")
    assert all(field.description.endswith(".") for field in entity.fields)


def test_tables_and_names_are_unique() -> None:
    assert len({entity.table for entity in REGISTRY.values()}) == len(REGISTRY)


def test_an_unknown_entity_is_told_with_those_that_exist() -> None:
    with pytest.raises(KeyError, match=r"no entity device; there are alert, .*asset, "):
        entities.get("device")


def test_the_document_describes_the_entities_as_they_are() -> None:
    text = (Path(__file__).parents[3] / "docs" / "data-model.md").read_text()
    assert docs.replaced(text) == text, "run: python -m towline_connectors.entities.docs docs/data-model.md"
