"""How to reach the API server: the pod's own service account, or a kubeconfig outside the cluster."""

from __future__ import annotations

import os
import ssl
from dataclasses import dataclass
from pathlib import Path

_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")


class AccessError(Exception):
    """There is no way to the API server; the message says what to do."""


@dataclass(frozen=True)
class Access:
    """Address and credentials of the API server; files are named, not read, so that rotation is noticed."""

    server: str
    ca_file: str = ""
    cert_file: str = ""
    key_file: str = ""
    token_file: str = ""
    fixed_token: str = ""
    insecure: bool = False

    def token(self) -> str:
        """The bearer token as it is now; empty if certificates are used."""
        return Path(self.token_file).read_text().strip() if self.token_file else self.fixed_token

    def tls(self) -> ssl.SSLContext | bool:
        """What aiohttp takes as `ssl`."""
        if not self.server.startswith("https:"):
            return True
        context = ssl.create_default_context(cafile=self.ca_file or None)
        if self.insecure:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if self.cert_file:
            context.load_cert_chain(self.cert_file, self.key_file or None)
        return context


def find_access(kubeconfig: str = "", context: str = "") -> Access:
    """A kubeconfig if one is named, else the pod's service account, else the usual kubeconfig. Raises AccessError."""
    if not kubeconfig and not context and "KUBERNETES_SERVICE_HOST" in os.environ and _ACCOUNT.exists():
        host, port = os.environ["KUBERNETES_SERVICE_HOST"], os.environ.get("KUBERNETES_SERVICE_PORT", "443")
        name = f"[{host}]" if ":" in host else host
        return Access(f"https://{name}:{port}", str(_ACCOUNT / "ca.crt"), token_file=str(_ACCOUNT / "token"))
    return _from_kubeconfig(kubeconfig, context)


def _from_kubeconfig(path: str, context: str) -> Access:
    # Only outside the cluster: the library takes 40 MiB, and a pod never needs it.
    try:
        from kubernetes import client, config
    except ImportError:
        raise AccessError("this installation cannot read kubeconfigs: pip install 'towline[cluster]'") from None

    settings = client.Configuration()
    try:
        config.load_kube_config(  # type: ignore[no-untyped-call]
            config_file=path or None, context=context or None, client_configuration=settings, persist_config=False
        )
    except (config.ConfigException, OSError) as error:
        raise AccessError(
            f"no way to a cluster: {error}. Name a kubeconfig with --kubeconfig, or run inside a pod"
        ) from None
    token = str((settings.api_key or {}).get("authorization", "")).removeprefix("Bearer ").strip()
    return Access(
        server=settings.host.rstrip("/"),
        ca_file=settings.ssl_ca_cert or "",
        cert_file=settings.cert_file or "",
        key_file=settings.key_file or "",
        fixed_token=token,
        insecure=not settings.verify_ssl,
    )
