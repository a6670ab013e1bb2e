"""Makes a volume for each claim of its storage class: a folder of this machine that any user may write to.

It only creates. When a claim is deleted, Kubernetes' controller manager removes the volume and its folder.
"""

import logging
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from kubernetes import client, config, watch
from kubernetes.client.exceptions import ApiException
from tests.cluster.addons import STORAGE_CLASS
from urllib3.exceptions import HTTPError

_log = logging.getLogger("provisioner")


def main(kubeconfig: str, folder: str, *on_node: str) -> None:
    """Serve claims until the process is ended; `on_node` is what to put before a command to run it on the node."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    config.load_kube_config(kubeconfig)  # type: ignore[no-untyped-call]
    core = client.CoreV1Api()
    while True:
        try:
            # Each watch begins with all the claims there are, so nothing is missed between two of them.
            feed: Any = watch.Watch()  # type: ignore[no-untyped-call]
            for event in feed.stream(core.list_persistent_volume_claim_for_all_namespaces, timeout_seconds=300):
                if event["type"] in {"ADDED", "MODIFIED"}:
                    _serve(core, event["object"], Path(folder), on_node)
        except (ApiException, OSError, HTTPError, subprocess.CalledProcessError) as error:
            _log.warning("the watch ended: %s", type(error).__name__)
            time.sleep(1)


def _serve(core: client.CoreV1Api, claim: Any, folder: Path, on_node: tuple[str, ...]) -> None:
    if claim.spec.storage_class_name != STORAGE_CLASS or claim.spec.volume_name or claim.metadata.deletion_timestamp:
        return
    # The name is a function of the claim, so a second try cannot make a second volume.
    name = f"claim-{claim.metadata.uid}"
    place = folder / name
    # For everyone: a pod runs as any user, and volumes of this kind know no fsGroup.
    subprocess.run([*on_node, "install", "--directory", "--mode=0777", str(place)], check=True)
    try:
        core.create_persistent_volume(volume_for(claim, name, place))
        _log.info("made %s for %s/%s", name, claim.metadata.namespace, claim.metadata.name)
    except ApiException as error:
        if error.status != 409:
            raise


def volume_for(claim: Any, name: str, place: Path) -> Any:
    """The PersistentVolume that only `claim` can take."""
    reference = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "namespace": claim.metadata.namespace,
        "name": claim.metadata.name,
        "uid": claim.metadata.uid,
    }
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": name},
        "spec": {
            "accessModes": claim.spec.access_modes,
            "capacity": {"storage": claim.spec.resources.requests["storage"]},
            "claimRef": reference,
            "hostPath": {"path": str(place), "type": "Directory"},
            "persistentVolumeReclaimPolicy": "Delete",
            "storageClassName": STORAGE_CLASS,
        },
    }


if __name__ == "__main__":
    main(*sys.argv[1:])
