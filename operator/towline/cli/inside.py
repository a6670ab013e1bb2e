"""Reads a cluster's destination from where only the cluster reaches it: a short-lived pod in the namespace.

It runs with the rights of who asks (create and delete pods, read their logs), under the `restricted` profile, with
no token and nothing but the namespace's volume or the destination's Secret, and goes when it has answered.
"""

from __future__ import annotations

import functools
import json
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import click

from towline.cli import cluster
from towline.cli.check import SELECTOR
from towline.cli.cluster import Cluster
from towline.cli.errors import FORBIDDEN, TIMED_OUT, CliError
from towline.cli.output import TALK_PREFIX, printable, say

LIMIT_SECONDS = 180
DEFAULT_CLAIM = "towline-data"
_TALK = "\x02towline: "


@dataclass(frozen=True, slots=True)
class Place:
    """What the person says of where the rows are; None is found out."""

    image: str | None = None
    destination_secret: str | None = None
    claim: str | None = None
    integration: str | None = None  # whose destination it is, where a namespace has several
    job_pod: str = ""  # what the installation adds to the pods of syncs, and so to this one: JSON
    pull_secrets: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class There:
    """A cluster's destination, which a verb is to read instead of one that this machine reaches."""

    place: Place
    connect: Callable[[], Cluster]

    def ask(self, arguments: list[str], integration: str | None = None) -> list[dict[str, Any]]:
        """What `towline ARGUMENTS` prints as JSON there. Raises CliError."""
        return ask(self.connect(), arguments, replace(self.place, integration=integration))


def options(function: Callable[..., None]) -> Callable[..., None]:
    """The options of verbs that may look into a cluster's destination; the verb gets them as `there`, None without
    --cluster."""

    @functools.wraps(function)
    def command(
        *,
        in_cluster: bool,
        image: str | None,
        destination_secret: str | None,
        claim: str | None,
        kubeconfig: str | None,
        context: str | None,
        namespace: str | None,
        **others: Any,
    ) -> None:
        place = Place(image, destination_secret, claim)
        there = There(place, lambda: cluster.connect(kubeconfig, context, namespace)) if in_cluster else None
        function(there=there, **others)

    for option in (
        click.option("--claim", metavar="NAME",
                     help="With --cluster: the volume claim with the SQLite file; left out, that of the syncs."),
        click.option("--destination-secret", metavar="NAME",
                     help="With --cluster: the Secret with the destination's url, where it is no volume."),
        click.option("--image", metavar="IMAGE", help="With --cluster: Towline's image; left out, that of the syncs."),
        click.option("--cluster", "in_cluster", is_flag=True,
                     help="Of a cluster's namespace: a short-lived pod there reads its destination."),
    ):  # fmt: skip
        command = option(command)
    return cluster.options(command)


def ask(connection: Cluster, arguments: list[str], place: Place) -> list[dict[str, Any]]:
    """What `towline ARGUMENTS` prints as JSON in a pod of the namespace. Raises CliError."""
    pods = f"/api/v1/namespaces/{connection.namespace}/pods"
    body = pod(f"towline-read-{secrets.token_hex(4)}", arguments, _found(connection, place))
    path = f"{pods}/{body['metadata']['name']}"
    say("►", f"reading in namespace {connection.namespace}, pod {body['metadata']['name']}")
    connection.post(pods, body)
    try:
        ended = _wait(connection, path)
        lines = list(connection.lines(f"{path}/log", {}))
    finally:
        connection.delete(path)
    data = [line for line in lines if not line.startswith(_TALK)]
    talk = [printable(line.removeprefix(_TALK)) for line in lines if line.startswith(_TALK)]
    if ended == "Failed":
        raise CliError(*(_without_mark(talk) or ["The pod failed without a word; its image may not be Towline's."]))
    try:
        found: list[dict[str, Any]] = json.loads("\n".join(data) or "[]")
    except ValueError:
        raise CliError("The pod's answer cannot be read; is its image of this version of Towline?") from None
    return found


def pod(name: str, arguments: list[str], place: Place) -> dict[str, Any]:
    """The pod that answers."""
    from towline.cli.operator import pod_settings
    from towline.contract import DATA_PATH
    from towline.core import restricted

    added = pod_settings(place.job_pod)
    source: dict[str, Any] = {"name": "TOWLINE_TO", "value": f"{DATA_PATH}/towline.db"}
    volumes: list[dict[str, Any]] = [{"name": "tmp", "emptyDir": {"sizeLimit": "256Mi"}}]
    mounts = [{"name": "tmp", "mountPath": "/tmp"}]  # noqa: S108  the pod's own
    if place.destination_secret:
        source = {
            "name": "TOWLINE_TO",
            "valueFrom": {"secretKeyRef": {"name": place.destination_secret, "key": "url"}},
        }
    else:
        # Not read-only: a reader of a file in WAL mode needs the log's shared memory. `towline data` writes nothing.
        volumes.append({"name": "data", "persistentVolumeClaim": {"claimName": place.claim or DEFAULT_CLAIM}})
        mounts.append({"name": "data", "mountPath": DATA_PATH})
    container = {
        "name": "read",
        "image": place.image,
        "args": arguments,
        "env": [source, {"name": TALK_PREFIX, "value": _TALK}, {"name": "PYTHONUTF8", "value": "1"}],
        "volumeMounts": mounts,
        "resources": {"requests": {"cpu": "50m", "memory": "96Mi"}, "limits": {"memory": "512Mi"}},
        "securityContext": restricted.container(),
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "labels": {**added.labels, "app.kubernetes.io/managed-by": cluster.MANAGER},
            "annotations": dict(added.annotations),
        },
        "spec": {
            "restartPolicy": "Never",
            "activeDeadlineSeconds": LIMIT_SECONDS,
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "terminationGracePeriodSeconds": 1,
            "securityContext": restricted.pod(added.security_context),
            "nodeSelector": dict(added.node_selector),
            "tolerations": list(added.tolerations),
            "imagePullSecrets": [{"name": each} for each in place.pull_secrets],
            "containers": [container],
            "volumes": volumes,
        },
    }


def _found(connection: Cluster, place: Place) -> Place:
    """The place with image and destination as the namespace and the installation have them."""
    syncs = sorted(connection.list("syncjobs"), key=lambda one: str(one["metadata"]["creationTimestamp"]))
    images = [one["status"]["image"] for one in syncs if (one.get("status") or {}).get("image")]
    deployments = _operators(connection)
    arguments = [word for each in deployments for word in each["spec"]["template"]["spec"]["containers"][0]["args"]]
    pull_secrets = tuple(dict.fromkeys(_options(arguments, "--image-pull-secret=")))
    place = replace(place, job_pod=_option(arguments, "--job-pod="), pull_secrets=pull_secrets)
    image = place.image or (images[-1] if images else _option(arguments, "--image="))
    if not image:
        raise CliError(
            f"No sync has run in namespace {connection.namespace} yet, so Towline's image is not known.",
            "Give it with --image, or choose another namespace with -n.",
        )
    if place.destination_secret:
        return replace(place, image=image)
    claim = place.claim or _option(arguments, "--data-claim=") or DEFAULT_CLAIM
    secret = "" if place.claim else _secret(connection, place, _option(arguments, "--destination-secret="))
    path = f"/api/v1/namespaces/{connection.namespace}/persistentvolumeclaims/{claim}"
    if not secret and connection.read(path) is None:
        raise CliError(
            f'There is no volume claim "{claim}" in namespace {connection.namespace}: nothing was synced to'
            " a volume there.",
            "Where the rows go elsewhere: --destination-secret NAME, or --claim NAME.",
        )
    return replace(place, image=image, destination_secret=secret or None, claim=claim)


def _secret(connection: Cluster, place: Place, default: str) -> str:
    """The Secret of the namespace's one destination, or of the Integration's that is meant; empty for the volume."""
    secrets_of = {
        str(one["metadata"]["name"]): str((one["spec"].get("destinationSecretRef") or {}).get("name") or default)
        for one in connection.list("integrations")
    }
    if place.integration in secrets_of:
        return secrets_of[place.integration]
    found = sorted(set(secrets_of.values()))
    if len(found) > 1:
        places = ", ".join(f"Secret {name}" if name else "the volume" for name in found)
        raise CliError(
            f"The Integrations of {connection.namespace} have several destinations: {places}.",
            "Choose one with --destination-secret NAME, or the volume with --claim NAME.",
        )
    return found[0] if found else default


def _operators(connection: Cluster) -> list[Any]:
    try:
        return list((connection.read("/apis/apps/v1/deployments", SELECTOR) or {}).get("items") or [])
    except CliError as error:
        if error.exit_code != FORBIDDEN:
            raise
        return []  # who may not look at the operator says with options what it would have told


def _option(arguments: list[str], name: str) -> str:
    return next(iter(_options(arguments, name)), "")


def _options(arguments: list[str], name: str) -> list[str]:
    return [word.removeprefix(name) for word in arguments if word.startswith(name)]


def _wait(connection: Cluster, path: str) -> str:
    """The phase in which the pod ended. Raises CliError when it cannot run."""
    from towline.cli.tree import pod_trouble

    end = time.monotonic() + LIMIT_SECONDS
    trouble = ""
    while time.monotonic() < end:
        found = connection.read(path)
        if found is None:
            raise CliError("The pod was deleted before it answered.")
        phase = str((found.get("status") or {}).get("phase"))
        if phase in ("Succeeded", "Failed"):
            return phase
        trouble = pod_trouble(found)
        time.sleep(0.3)
    why = f": {printable(trouble)}" if trouble else ""
    raise CliError(f"The pod did not answer within {LIMIT_SECONDS} s{why}.", exit_code=TIMED_OUT)


def _without_mark(talk: list[str]) -> list[str]:
    return [line.lstrip("✗!► ").strip() for line in talk]
