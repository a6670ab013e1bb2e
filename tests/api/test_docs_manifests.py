"""Every manifest of the documentation and of the examples, shown to a real API server as `kubectl apply` would."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.api.client import GROUP, Api, Kubectl
from tests.unit.doc_blocks import ROOT, all_blocks

pytestmark = pytest.mark.api
CORE = ("v1", "apps/v1", "batch/v1", "networking.k8s.io/v1", "rbac.authorization.k8s.io/v1", f"{GROUP}/v1alpha1")


def manifests() -> list[tuple[str, dict[str, Any]]]:
    found = [(block.place, block.text) for block in all_blocks("yaml") if not block.not_run]
    files = [*ROOT.glob("examples/[0-9]*/*.yaml")]
    found += [(str(file.relative_to(ROOT)), file.read_text()) for file in sorted(files)]
    return [
        (place, document)
        for place, text in found
        for document in yaml.safe_load_all(text)
        if isinstance(document, dict) and document.get("apiVersion") in CORE and "metadata" in document
    ]


def test_the_api_server_takes_every_manifest_of_the_documentation(
    api: Api, kubectl: Kubectl, namespace: str, tmp_path: Path
) -> None:
    shown = manifests()
    assert len(shown) > 30
    items = []
    for _, document in shown:
        metadata = {key: value for key, value in document["metadata"].items() if key != "namespace"}
        items.append({**document, "metadata": metadata})
    # One call for all: a process of kubectl a manifest would take minutes. It names what is refused.
    file = tmp_path / "manifests.json"
    file.write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": items}))
    told = kubectl("apply", "--dry-run=server", "-n", namespace, "-f", str(file))
    assert told.count("(server dry run)") == len(shown)
