"""`towline support`: what somebody needs who is to help, in one file and without secrets."""

from __future__ import annotations

import io
import json
import tarfile
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import click

from towline.cli import chain, cluster, completing
from towline.cli.check import SELECTOR
from towline.cli.cluster import Cluster
from towline.cli.errors import FORBIDDEN, CliError
from towline.cli.output import say

LOG_LINES = "2000"
_LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
README = """\
What `towline support` wrote on {time} (towline {version}), about {where}.

Look through it before you hand it on. It holds no Secret's values: of the Secret only the names of its keys. Hosts,
names and settings are as they stand in your cluster.

integration.json, connector.json   the objects with their status
syncjobs.json, jobs.json, pods.json, events.json
secret-keys.json                   names of the Secret's keys, and when it changed
operator/                          the operator's Deployment, its pods and their newest log lines
logs/                              the newest log lines of the syncs' pods that are still there
not-readable.txt                   what you may not read, if anything
"""


@click.command()
@click.argument("name", shell_complete=completing.integrations)
@click.option("--write", type=click.Path(dir_okay=False), metavar="FILE", help="Instead of NAME-support.tar.gz here.")
@cluster.options
def support(name: str, write: str | None, kubeconfig: str | None, context: str | None, namespace: str | None) -> None:
    """Write a bundle about the Integration NAME and the operator, without secrets, to hand to who helps."""
    connection = cluster.connect(kubeconfig, context, namespace)
    found = chain.gather(connection, name)
    where = f"{connection.namespace}/{name}"
    files: dict[str, str] = {"README.txt": README.format(time=_now(), version=version("towline"), where=where)}
    files |= {f"{key}.json": _json(value) for key, value in _objects(connection, found).items()}
    for pod in found.pods[-5:]:
        path = f"/api/v1/namespaces/{connection.namespace}/pods/{pod['metadata']['name']}/log"
        files[f"logs/{pod['metadata']['name']}.log"] = _log(connection, path, found)
    files |= _operator(connection, found)
    if found.unseen:
        files["not-readable.txt"] = "\n".join(sorted(set(found.unseen))) + "\n"
    target = Path(write or f"{name}-support.tar.gz")
    _pack(target, files)
    say("✔", f"wrote {target}: {len(files)} files, no secret's value among them. Look through it before you send it.")


def _objects(connection: Cluster, found: chain.Chain) -> dict[str, Any]:
    events = _seen(connection, f"/api/v1/namespaces/{connection.namespace}/events", "events", found)
    items = [found.integration, *found.syncs, *found.jobs, *found.pods]
    uids = {item["metadata"]["uid"] for item in items}
    return {
        "integration": _plain(found.integration),
        "connector": _plain(found.connector),
        "secret-keys": {"name": found.secret_name, "keys": (found.secret or {}).get("keys")},
        "syncjobs": [_plain(item) for item in found.syncs],
        "jobs": [_plain(item) for item in found.jobs],
        "pods": [_plain(item) for item in found.pods],
        "events": [_plain(event) for event in events if event["involvedObject"].get("uid") in uids],
    }


def _operator(connection: Cluster, found: chain.Chain) -> dict[str, str]:
    deployments = _seen(connection, "/apis/apps/v1/deployments", "the operator's Deployment", found, SELECTOR)
    pods = _seen(connection, "/api/v1/pods", "the operator's pods", found, SELECTOR)
    files = {
        "operator/deployments.json": _json([_plain(item) for item in deployments]),
        "operator/pods.json": _json([_plain(item) for item in pods]),
    }
    for pod in pods:
        metadata = pod["metadata"]
        path = f"/api/v1/namespaces/{metadata['namespace']}/pods/{metadata['name']}/log"
        files[f"operator/{metadata['name']}.log"] = _log(connection, path, found)
    return files


def _seen(
    connection: Cluster, path: str, what: str, found: chain.Chain, query: dict[str, str] | None = None
) -> list[Any]:
    try:
        return list((connection.read(path, query) or {}).get("items") or [])
    except CliError as error:
        if error.exit_code != FORBIDDEN:
            raise
        found.unseen.append(what)
        return []


def _log(connection: Cluster, path: str, found: chain.Chain) -> str:
    try:
        return "\n".join(connection.lines(path, {"tailLines": LOG_LINES})) + "\n"
    except CliError as error:  # a pod that has not started has no log
        if error.exit_code == FORBIDDEN:
            found.unseen.append("logs")
        return f"{error}\n"


def _plain(item: dict[str, Any] | None) -> dict[str, Any] | None:
    """The object without what nobody reads, and without the copy of a manifest that somebody applied."""
    if item is None:
        return None
    metadata = {key: value for key, value in item["metadata"].items() if key != "managedFields"}
    annotations = {key: value for key, value in (metadata.get("annotations") or {}).items() if key != _LAST_APPLIED}
    return {**item, "metadata": {**metadata, "annotations": annotations}}


def _pack(target: Path, files: dict[str, str]) -> None:
    try:
        with target.open("xb") as raw, tarfile.open(fileobj=raw, mode="w:gz") as archive:
            target.chmod(0o600)
            for name, text in files.items():
                content = text.encode()
                entry = tarfile.TarInfo(f"{target.name.removesuffix('.tar.gz')}/{name}")
                entry.size, entry.mode, entry.mtime = len(content), 0o600, int(datetime.now(UTC).timestamp())
                archive.addfile(entry, io.BytesIO(content))
    except FileExistsError:
        raise CliError(f"{target} is there already.", "Choose another file with --write, or remove it.") from None
    except OSError as error:
        raise CliError(f"Cannot write {target}: {error.strerror}.") from None


def _json(value: Any) -> str:
    return json.dumps(value, indent=1, ensure_ascii=False) + "\n"


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
