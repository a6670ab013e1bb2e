"""Writes kubeconfig files that hold their certificates, so that one file is all a client needs."""

import base64
import json
import os
from pathlib import Path

from tests.cluster.certificates import Pair


def write_kubeconfig(path: Path, cluster: str, server: str, authority: Path, client: Pair) -> Path:
    """A kubeconfig (JSON is YAML) that only its owner can read."""
    encoded = {
        name: base64.b64encode(file.read_bytes()).decode()
        for name, file in (("ca", authority), ("certificate", client.certificate), ("key", client.key))
    }
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": cluster,
        "clusters": [{"name": cluster, "cluster": {"server": server, "certificate-authority-data": encoded["ca"]}}],
        "users": [
            {
                "name": cluster,
                "user": {"client-certificate-data": encoded["certificate"], "client-key-data": encoded["key"]},
            }
        ],
        "contexts": [{"name": cluster, "context": {"cluster": cluster, "user": cluster}}],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(path.name + ".new")
    with open(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        json.dump(document, file, indent=1)
        file.write("\n")
    unfinished.replace(path)
    return path
