"""The manifests that a cluster of ours needs before it is like any other: cluster DNS and a default storage class."""

from string import Template

from tests.cluster.folders import HACK
from tests.cluster.nodeconfig import CLUSTER_DOMAIN, upstream_dns_servers

STORAGE_CLASS = "standard"
STORAGE_PROVISIONER = "towline.dev/host-folder"


def dns_manifest(image: str, address: str) -> str:
    """CoreDNS at the Service address `address`; it asks this machine's name servers for names outside the cluster."""
    servers = upstream_dns_servers()
    values = {
        "coredns_image": image,
        "dns_address": address,
        "domain": CLUSTER_DOMAIN,
        "forward": f"forward . {' '.join(servers)}" if servers else "",
    }
    return _filled("dns.yaml", values)


def storage_manifest() -> str:
    """The default storage class, which `provisioner` serves."""
    return _filled("storage.yaml", {"name": STORAGE_CLASS, "provisioner": STORAGE_PROVISIONER})


def _filled(file: str, values: dict[str, str]) -> str:
    return Template((HACK / "cluster" / "addons" / file).read_text()).substitute(values)
