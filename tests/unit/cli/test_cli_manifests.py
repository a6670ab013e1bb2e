"""Reading manifests from files, folders and standard input."""

from __future__ import annotations

from pathlib import Path

import pytest

from towline.cli.errors import CliError
from towline.cli.manifests import parse, read_all

TWO = b"""\
apiVersion: v1
kind: Secret
metadata: {name: api}
---
# a comment
apiVersion: towline.dev/v1alpha1
kind: Integration
metadata: {name: prod, namespace: secops}
spec: {connectorRef: {name: tenable-io}}
---
"""


def test_every_document_of_a_file_is_read_with_its_line() -> None:
    secret, integration = parse(TWO, "all.yaml")
    assert (secret.kind, secret.name, secret.namespace, secret.source) == ("Secret", "api", "", "all.yaml")
    assert (integration.kind, integration.name, integration.namespace) == ("Integration", "prod", "secops")
    assert integration.source == "all.yaml:6"
    assert secret.known
    assert integration.known


def test_json_and_lists_are_read_too() -> None:
    items = b'{"apiVersion": "v1", "kind": "List", "items": [{"apiVersion": "v1", "kind": "Secret"}]}'
    assert [document.kind for document in parse(items, "list.json")] == ["Secret"]


def test_a_folder_is_read_without_its_other_files(tmp_path: Path) -> None:
    (tmp_path / "b.yaml").write_bytes(TWO)
    (tmp_path / "a.yml").write_text("{apiVersion: apps/v1, kind: Deployment, metadata: {name: x}}")
    (tmp_path / "README.md").write_text("# not a manifest")
    documents = read_all([str(tmp_path)])
    assert [document.kind for document in documents] == ["Deployment", "Secret", "Integration"]
    assert [document.known for document in documents] == [False, True, True]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"a: b: c", "all.yaml:1: this is not valid YAML"),
        (b"kind: Secret\nkind: Secret\n", ':2: this is not valid YAML: the key "kind" stands twice'),
        (b"hello: world", "all.yaml is not a Kubernetes manifest: it has no apiVersion and kind"),
        (b"- 1\n- 2", "is not a Kubernetes manifest"),
        (b"\xff\xfe\x00", "is not UTF-8 text"),
        (b"apiVersion: towline.dev/v1\nkind: Integration", "this Towline reads towline.dev/v1alpha1"),
        (b"!!python/object/apply:os.system [id]", "is not"),
        (b"a: " * 9_000_000, "larger than 8 MiB"),
        (b"[" * 5000, "is not valid YAML"),
    ],
)  # fmt: skip
def test_what_is_no_manifest_is_refused_with_a_sentence(content: bytes, sentence: str) -> None:
    with pytest.raises(CliError, match=sentence.replace("(", r"\(")):
        parse(content, "all.yaml")


def test_a_missing_file_and_an_empty_folder_are_named(tmp_path: Path) -> None:
    with pytest.raises(CliError, match=r"There is no file .*nowhere\.yaml"):
        read_all([str(tmp_path / "nowhere.yaml")])
    with pytest.raises(CliError, match="holds no manifest"):
        read_all([str(tmp_path)])


def test_time_without_quotes_stays_a_text_as_kubectl_sends_it() -> None:
    text = b"apiVersion: towline.dev/v1alpha1\nkind: SyncJob\nspec: {at: 2026-11-21T08:00:00Z, day: 2026-11-21}\n"

    (document,) = parse(text, "sync.yaml")

    assert document.data["spec"] == {"at": "2026-11-21T08:00:00Z", "day": "2026-11-21"}
