"""The systems that the demo connects: simulated vendors, a directory server, a database for rows."""

from __future__ import annotations

import base64
import json
import secrets
import tempfile
from collections.abc import Mapping
from pathlib import Path
from string import Template
from typing import Any

from hack.demo.target import Target
from tests.cluster.certificates import issue, make_authority
from tests.cluster.images import POSTGRESQL, SLAPD

from towline_connectors.catalogue.iam import directory as people_of

MANIFESTS = Path(__file__).parent / "manifests"
POSTGRESQL_SECRET = "postgresql"  # noqa: S105  the name of a Secret
DIRECTORY_TLS = "directory-tls"
DIRECTORY_CA = "directory-ca"


def simulator(
    target: Target, namespace: str, connector: str, image: str, options: Mapping[str, object], name: str = ""
) -> str:
    """Run `towline simulate CONNECTOR` behind a Service; the host and port under which pods reach it."""
    name = name or f"simulated-{connector}"  # not -simulator: a word of the credentials is masked in messages
    arguments = ["simulate", connector, "--host=0.0.0.0", "--port=8080"]
    arguments += [f"--set={key}={value}" for key, value in options.items()]
    text = manifest("simulator", name=name, image=image, arguments=json.dumps(arguments))
    target.kubectl("-n", namespace, "apply", "--server-side", "--force-conflicts", "-f", "-", stdin=text)
    return f"{name}.{namespace}.svc:8080"


def directory(target: Target, namespace: str, image: str, people: int) -> tuple[str, dict[str, str]]:
    """Run slapd with made-up people over TLS; its host, and the credentials of an account that may read.

    The authority of its certificate stands in ConfigMap `directory-ca`.
    """
    host = f"directory.{namespace}.svc"
    if not target.objects("-n", namespace, "secret", DIRECTORY_TLS):
        target.apply(*_certificates(namespace, host))
    text = manifest("directory", image=image, slapd_image=target.image(SLAPD), people=str(people))
    target.kubectl("-n", namespace, "apply", "--server-side", "--force-conflicts", "-f", "-", stdin=text)
    reader = people_of.Options(flavour="active-directory").reader
    return host, {"username": reader, "password": people_of.READER_PASSWORD}


def postgresql(target: Target, namespace: str) -> str:
    """Run PostgreSQL; the name of the Secret with its `url`, which an Integration names as its destination."""
    if not target.objects("-n", namespace, "secret", POSTGRESQL_SECRET):
        password = secrets.token_urlsafe(24)
        url = f"postgresql://towline:{password}@postgresql.{namespace}.svc:5432/towline"
        target.apply(secret(namespace, POSTGRESQL_SECRET, {"password": password, "url": url}))
    text = manifest("postgresql", image=target.image(POSTGRESQL))
    target.kubectl("-n", namespace, "apply", "--server-side", "--force-conflicts", "-f", "-", stdin=text)
    return POSTGRESQL_SECRET


def wait_for(target: Target, namespace: str, *names: str, seconds: int = 180) -> None:
    """Wait until the Deployments `names` are rolled out; ClusterError with kubectl's words when they are not."""
    for name in names:
        target.kubectl(
            "-n", namespace, "rollout", "status", f"deployment/{name}", f"--timeout={seconds}s", timeout=seconds + 10
        )


def secret(namespace: str, name: str, values: dict[str, str], **annotations: str) -> dict[str, Any]:
    """A Secret object."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "namespace": namespace, "annotations": annotations},
        "data": {key: base64.b64encode(value.encode()).decode() for key, value in values.items()},
    }


def manifest(name: str, /, **values: str) -> str:
    """The manifest hack/demo/manifests/NAME.yaml with its ${…} filled in."""
    return Template((MANIFESTS / f"{name}.yaml").read_text()).substitute(values)


def _certificates(namespace: str, host: str) -> list[dict[str, Any]]:
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        authority = make_authority(folder, "directory-ca")
        names = (host, f"{host}.cluster.local", "directory")
        made = issue(folder, "directory", authority, "directory", hosts=tuple(f"DNS:{each}" for each in names))
        tls = secret(
            namespace, DIRECTORY_TLS, {"tls.crt": made.certificate.read_text(), "tls.key": made.key.read_text()}
        )
        bundle = {"ca.crt": authority.certificate.read_text()}
    metadata = {"name": DIRECTORY_CA, "namespace": namespace}
    return [tls, {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": bundle}]
