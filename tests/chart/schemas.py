"""JSON schemas of Kubernetes' own kinds, in several versions, for kubeconform.

Each version's OpenAPI document lies in the Go module of Kubernetes, so nothing is downloaded but Go modules, whose
sums are pinned here. From it comes one file a kind, strict: a field that the version does not know is an error.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

from tests.cluster.binaries import Module, build
from tests.cluster.folders import cache_folder
from tests.cluster.locks import file_lock
from tests.cluster.modules import module_folder
from tests.cluster.report import ClusterError, step

KUBECONFORM = Module("kubeconform", {"kubeconform": "github.com/yannh/kubeconform/cmd/kubeconform"}, about="seconds")

VERSIONS = {
    "1.31": ("v1.31.14", "h1:UtjLfqvXLuSVDdJ4+NpQCIfFkKkLnAAVmxAEMsnkhjk="),
    "1.32": ("v1.32.11", "h1:vGU5kf3OD2/Pu/OAOyPld7gHlS1gmeRth54PWxcRVMM="),
    "1.33": ("v1.33.7", "h1:Qhp1gwCPSOqt3du6A0uTGrrTcZDtShdSCIR5IZag16Y="),
    # The version that the tests' clusters are built from.
    "1.34": ("v1.34.4", "h1:Yy6R4QB8C9kJPp25GFqEvX5XQwY5qzKeqD0Xx6oAcmk="),
}
_QUANTITY = "io.k8s.apimachinery.pkg.api.resource.Quantity"


def kubeconform(version: str, manifests: str) -> list[dict[str, Any]]:
    """What kubeconform finds for each object; `status` is statusValid, statusInvalid or statusError."""
    program = str(build([KUBECONFORM])["kubeconform"])
    location = f"{schemas(version)}/{{{{.ResourceKind}}}}{{{{.KindSuffix}}}}.json"
    command = [program, "-strict", "-schema-location", location, "-output=json", "-verbose"]
    ended = subprocess.run(command, input=manifests, capture_output=True, text=True, check=False, timeout=60)
    if not ended.stdout.strip():
        raise ClusterError(f"kubeconform said nothing: {ended.stderr[-500:]}")
    found: list[dict[str, Any]] = json.loads(ended.stdout)["resources"]
    return found


def schemas(version: str) -> Path:
    """The folder with the schemas of Kubernetes `version`, made when the cache lacks it."""
    exact, _ = VERSIONS[version]
    folder = cache_folder() / "schemas" / exact
    with file_lock(cache_folder() / f"schemas-{exact}.lock", "making schemas"):
        if not folder.is_dir():
            with step(f"making the schemas of Kubernetes {exact}"):
                _write(json.loads(_document(version)), folder)
    return folder


def _document(version: str) -> str:
    folder = module_folder("k8s.io/kubernetes", *VERSIONS[version])
    return (folder / "api" / "openapi-spec" / "swagger.json").read_text()


def _write(document: dict[str, Any], folder: Path) -> None:
    definitions = {name: _strict(name, node) for name, node in document["definitions"].items()}
    unfinished = folder.with_name(folder.name + ".new")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    (unfinished / "definitions.json").write_text(json.dumps({"definitions": definitions}))
    for name, node in definitions.items():
        for kind in node.get("x-kubernetes-group-version-kind", []):
            # The names that kubeconform asks for: kind-group's first part-version, in lower case.
            group = f"{kind['group'].partition('.')[0]}-" if kind["group"] else ""
            file = f"{kind['kind']}-{group}{kind['version']}.json".lower()
            identity = {
                "apiVersion": {"const": f"{kind['group']}/{kind['version']}".removeprefix("/")},
                "kind": {"const": kind["kind"]},
            }
            whole = {"$ref": f"definitions.json#/definitions/{name}"}
            (unfinished / file).write_text(json.dumps({"allOf": [whole, {"properties": identity}]}))
    unfinished.rename(folder)


def _strict(name: str, node: dict[str, Any]) -> dict[str, Any]:
    # OpenAPI 2 has no unions: it calls these strings, and says otherwise in words.
    if name == _QUANTITY:
        return {"type": ["string", "number"]}
    if node.get("format") == "int-or-string":
        return {"type": ["string", "integer"]}
    if "properties" in node and "additionalProperties" not in node:
        return {**node, "additionalProperties": False}
    return node
