"""Flux' kustomize-controller as a process of this machine, and a source for it to read.

The controller is the real one, built from its Go module; the test plays the source-controller alone: it packs a folder
as that does, serves the archive, and writes it into the status of a GitRepository.
"""

from __future__ import annotations

import functools
import hashlib
import http.server
import json
import os
import subprocess
import tarfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hack.demo.target import Target
from tests.cluster.binaries import Module, build
from tests.cluster.modules import module_folder
from tests.cluster.network import free_port

FLUX = Module(
    "flux", {"kustomize-controller": "github.com/fluxcd/kustomize-controller"}, about="some minutes, the first time"
)
# The versions that hack/cluster/flux/go.mod names.
DEFINITIONS = (
    ("github.com/fluxcd/kustomize-controller", "v1.7.3", "h1:SzNnGn/4ObAPEHHleM5U7y/AKxKXph3Vj6ZhteeXw8M="),
    ("github.com/fluxcd/source-controller", "v1.7.2", "h1:PQLzvgHNEYsstl8uATBZg/70b/i0tj63e0IqnYDeJyg="),
)
NAMESPACE = "flux-system"


@contextmanager
def controller(target: Target, folder: Path) -> Iterator[Path]:
    """kustomize-controller at work on the cluster; the file that it logs to."""
    program = build([FLUX])["kustomize-controller"]
    for module, version, sum_ in DEFINITIONS:
        folder_of_crds = module_folder(module, version, sum_) / "config" / "crd" / "bases"
        target.kubectl("apply", "--server-side", "--force-conflicts", "-f", str(folder_of_crds))
        target.kubectl("wait", "--for=condition=Established", "--timeout=60s", "-f", str(folder_of_crds))
    target.namespace(NAMESPACE)
    log = folder / "kustomize-controller.log"
    command = [str(program), "--watch-all-namespaces", f"--metrics-addr=127.0.0.1:{free_port()}"]
    command += [f"--health-addr=127.0.0.1:{free_port()}", "--requeue-dependency=2s"]
    environment = {**os.environ, "KUBECONFIG": str(target.kubeconfig), "RUNTIME_NAMESPACE": NAMESPACE}
    with log.open("wb") as output, subprocess.Popen(command, stdout=output, stderr=output, env=environment) as process:
        try:
            yield log
        finally:
            process.terminate()


@contextmanager
def repository(target: Target, name: str, content: Path, at: str, folder: Path) -> Iterator[None]:
    """A GitRepository `name` whose commit holds the folder `content` at the path `at`."""
    archive = folder / "commit.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(content, at)
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    handler = functools.partial(_Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_address[1]}/{archive.name}"
        target.apply(_source(name))
        generation = target.objects("-n", NAMESPACE, "gitrepository", name)[0]["metadata"]["generation"]
        status = _status(url, digest, generation)
        patch = json.dumps({"status": status})
        target.kubectl(
            "-n", NAMESPACE, "patch", "gitrepository", name, "--subresource=status", "--type=merge", "-p", patch
        )
        yield
        server.shutdown()


def _source(name: str) -> dict[str, Any]:
    return {
        "apiVersion": "source.toolkit.fluxcd.io/v1",
        "kind": "GitRepository",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {"interval": "1h", "url": "https://git.example.com/platform.git", "ref": {"branch": "main"}},
    }


def _status(url: str, digest: str, generation: int) -> dict[str, Any]:
    now, revision = "2026-01-01T00:00:00Z", f"main@sha1:{digest[:40]}"
    ready = {
        "type": "Ready",
        "status": "True",
        "reason": "Succeeded",
        "message": "stored artifact",
        "lastTransitionTime": now,
        "observedGeneration": generation,
    }
    artifact = {"path": "commit.tar.gz", "url": url, "revision": revision, "lastUpdateTime": now}
    artifact["digest"] = f"sha256:{digest}"
    return {"observedGeneration": generation, "conditions": [ready], "artifact": artifact}


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        """Nothing: pytest shows what the test says."""
