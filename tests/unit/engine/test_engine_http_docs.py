"""The examples of docs/http.md are manifests."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.unit.engine.plans import spec, users

from towline.api.http import ErrorRule
from towline_connectors.engine.compile import load_spec, manifest_problems

PAGE = (Path(__file__).parents[3] / "docs" / "http.md").read_text(encoding="utf-8")
EXAMPLES: list[dict[str, Any]] = [
    yaml.safe_load(text) for text in re.findall(r"^```yaml\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
]


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: "-".join(example))
def test_an_example_is_accepted_as_it_stands(example: dict[str, Any]) -> None:
    manifest = spec("https://api.example.com", [users()], **example)
    names = set(re.findall(r"\$\{secret\.([a-z_]+)", PAGE)) | {"client_id", "token"}
    manifest["credentials"] = [{"key": name} for name in sorted(names)]
    options = set(re.findall(r"\$\{config\.([a-z_]+)", PAGE))
    manifest["configSchema"] = {"properties": {key: {"type": "string"} for key in options}}
    assert manifest_problems(load_spec(manifest)) == []


def test_every_class_of_errors_is_explained() -> None:
    classes = ErrorRule.model_fields["class_"].annotation
    known: tuple[str, ...] = getattr(classes, "__args__", ())
    assert known
    assert [name for name in known if f"`{name}`" not in PAGE] == []
