"""Reads Kubernetes manifests from files, folders and standard input, as `kubectl -f` does."""

from __future__ import annotations

import sys
from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from towline.cli import yaml_words
from towline.cli.errors import CliError

MAX_BYTES = 8 * 1024 * 1024  # far above any manifest; a wrong file name must not fill the memory
SUFFIXES = (".yaml", ".yml", ".json")
KINDS = {
    "Integration": "towline.dev/v1alpha1",
    "Connector": "towline.dev/v1alpha1",
    "SyncJob": "towline.dev/v1alpha1",
    "Secret": "v1",
    "ConfigMap": "v1",
}


@dataclass(frozen=True, slots=True)
class Document:
    """One object and where it was read; `source` is for messages, for example `secret.yaml:12`."""

    source: str
    data: dict[str, Any]
    node: yaml.Node | None = field(default=None, compare=False, repr=False)  # for the lines of mistakes

    @property
    def kind(self) -> str:
        return str(self.data.get("kind", ""))

    @property
    def known(self) -> bool:
        """Whether it is one of the kinds that Towline reads, in the version that it reads."""
        return KINDS.get(self.kind) == self.data.get("apiVersion")

    @property
    def metadata(self) -> dict[str, Any]:
        metadata = self.data.get("metadata")
        return metadata if isinstance(metadata, dict) else {}

    @property
    def name(self) -> str:
        return str(self.metadata.get("name") or "")

    @property
    def namespace(self) -> str:
        """Empty where the manifest leaves it to kubectl."""
        return str(self.metadata.get("namespace") or "")


def read_all(paths: list[str]) -> list[Document]:
    """All documents below `paths`; `-` is standard input. Raises CliError naming the file and line."""
    documents: list[Document] = []
    for path in paths:
        if path == "-":
            documents += parse(sys.stdin.buffer.read(MAX_BYTES + 1), "standard input")
        else:
            for file in _files(Path(path)):
                documents += parse(_read(file), str(file))
    return documents


def parse(content: bytes, source: str) -> list[Document]:
    if len(content) > MAX_BYTES:
        raise CliError(f"{source} is larger than 8 MiB: that is not a manifest.")
    try:
        text = content.decode("utf-8-sig")
        return [document for node in yaml.compose_all(text, Loader=_Loader) for document in _document(node, source)]
    except UnicodeDecodeError:
        raise CliError(f"{source} is not UTF-8 text: that is not a manifest.") from None
    except yaml.MarkedYAMLError as error:
        line = f":{error.problem_mark.line + 1}" if error.problem_mark else ""
        raise CliError(f"{source}{line}: this is not valid YAML: {yaml_words.words(error)}.") from None
    except (yaml.YAMLError, ValueError, RecursionError):
        raise CliError(
            f"{source} is not valid YAML: it holds characters that YAML has not, or is nested too deeply."
        ) from None


class _Loader(yaml.SafeLoader):
    """Refuses keys that stand twice, as the API server does with strict field validation; leaves times as text."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            if isinstance(key_node, yaml.ScalarNode) and key_node.tag != "tag:yaml.org,2002:merge":
                if key_node.value in seen:
                    raise yaml.constructor.ConstructorError(
                        None, None, f'the key "{key_node.value}" stands twice in one object', key_node.start_mark
                    )
                seen.add(key_node.value)
        return super().construct_mapping(node, deep)


# JSON has no times: kubectl sends `scheduledTime: 2026-11-21T08:00:00Z` as the text that stands there.
_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def _document(node: yaml.Node | None, source: str) -> Iterator[Document]:
    if node is None:
        return
    where = f"{source}:{node.start_mark.line + 1}" if node.start_mark.line else source
    if not yaml_words.bounded(node):
        raise CliError(f"{where}: its aliases (*) stand for too much; write out what they stand for.")
    loader = _Loader("")
    try:
        data = loader.construct_document(node)
    finally:
        loader.dispose()
    if data is None:
        return
    if not isinstance(data, dict) or "kind" not in data or "apiVersion" not in data:
        raise CliError(f"{where} is not a Kubernetes manifest: it has no apiVersion and kind.")
    if data["kind"] == "List":
        for item in data.get("items") or []:
            if isinstance(item, dict):
                yield Document(where, item)
        return
    document = Document(where, data, node)
    wanted = KINDS.get(document.kind)
    if wanted and str(data["apiVersion"]).split("/")[0] == wanted.split("/")[0] and data["apiVersion"] != wanted:
        raise CliError(f'{where}: {document.kind} has apiVersion "{data["apiVersion"]}"; this Towline reads {wanted}.')
    yield document


def _files(path: Path) -> list[Path]:
    if path.is_dir():
        found = sorted(file for file in path.iterdir() if file.suffix in SUFFIXES and file.is_file())
        if not found:
            raise CliError(f"The folder {path} holds no manifest (*.yaml, *.yml, *.json).")
        return found
    if not path.exists():
        raise CliError(
            f"There is no file {path}.", "Give manifests with -f FILE, -f FOLDER, or -f - for standard input."
        )
    return [path]


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(MAX_BYTES + 1)
    except OSError as error:
        raise CliError(f"Cannot read {path}: {error.strerror or type(error).__name__}.") from None
