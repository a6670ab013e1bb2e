"""The Connectors that come with Towline: applied at start, and removed again when a new version drops one."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from importlib import resources
from importlib.resources.abc import Traversable
from typing import Any

import yaml

from towline.core.facts import BUNDLED_LABEL, MANAGED_BY, MANAGER
from towline.kube.client import Client
from towline.kube.errors import ApiError, UnavailableError
from towline.kube.resources import CONNECTORS, INTEGRATIONS

log = logging.getLogger(__name__)
_CATALOGUE = "towline_connectors"
_FIELD_MANAGER = "towline-catalogue"
# libyaml, where it is there, reads all manifests in a sixth of the half second that they would take.
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def manifests() -> Iterator[dict[str, Any]]:
    """The bundled manifests, read as data; no code of the catalogue is imported."""
    for path in _find(resources.files(_CATALOGUE) / "catalogue"):
        yield yaml.load(path.read_text(encoding="utf-8"), Loader=_LOADER)  # noqa: S506  it is a safe one


async def apply_bundled(client: Client, namespaces: tuple[str, ...]) -> None:
    """Apply every bundled Connector and prune what is no longer bundled. One bad manifest does not stop the others."""
    names = set()
    for manifest in manifests():
        name = manifest["metadata"]["name"]
        names.add(name)
        labels = {**(manifest["metadata"].get("labels") or {}), BUNDLED_LABEL: "true", MANAGED_BY: MANAGER}
        body = {
            "apiVersion": CONNECTORS.api_version,
            "kind": CONNECTORS.kind,
            "metadata": {"name": name, "labels": labels},
            "spec": manifest["spec"],
        }
        try:
            await client.apply(CONNECTORS, "", name, body, manager=_FIELD_MANAGER)
        except UnavailableError:
            raise
        except ApiError as error:
            log.error("The bundled Connector %s was not applied: %s", name, error)
    await _prune(client, names, namespaces)


async def _prune(client: Client, names: set[str], namespaces: tuple[str, ...]) -> None:
    present, _ = await client.list(CONNECTORS, selector=f"{BUNDLED_LABEL}=true,{MANAGED_BY}={MANAGER}")
    dropped = [one for one in present if one["metadata"]["name"] not in names]
    if not dropped:
        return
    used = set()
    for namespace in namespaces or ("",):
        integrations, _ = await client.list(INTEGRATIONS, namespace)
        used |= {one["spec"]["connectorRef"]["name"] for one in integrations}
    for one in dropped:
        name = one["metadata"]["name"]
        if name in used:
            log.warning("Connector %s is no longer bundled, but Integrations use it: it stays", name)
            continue
        await client.delete(CONNECTORS, "", name, one["metadata"]["uid"])
        log.info("Connector %s is no longer bundled and was removed", name)


def _find(folder: Traversable) -> Iterator[Traversable]:
    for path in sorted(folder.iterdir(), key=lambda entry: entry.name):
        if path.is_dir():
            yield from _find(path)
        elif path.name == "connector.yaml":
            yield path
