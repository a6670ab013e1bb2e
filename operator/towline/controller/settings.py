"""Settings of the operator, as its command line or the chart gives them."""

from __future__ import annotations

from dataclasses import dataclass, field

from towline.controller.leader import Election
from towline.core.facts import RunSettings


@dataclass(frozen=True)
class Settings:
    """Everything that an administrator decides. Authors of Integrations cannot change any of it."""

    runs: RunSettings = field(default_factory=RunSettings)
    namespaces: tuple[str, ...] = ()
    """Namespaces to work in; empty: all."""
    max_active_syncs: int = 10
    max_active_per_namespace: int = 0
    max_active_per_connector: int = 0
    workers: int = 32
    resync_seconds: float = 600.0
    secret_check_seconds: float = 300.0
    secret_recheck_seconds: float = 15.0
    """How often a Secret is looked at while something about it has to be corrected."""
    watch_secrets: bool = False
    """Hear of changed Secrets by a watch; needs the right to, which is also the right to read them."""
    probe_seconds: float = 300.0
    """How often a system's health is asked for, where its manifest does not say; 0: never."""
    requests_per_second: float = 50.0
    host: str = "0.0.0.0"  # noqa: S104  the probes and Prometheus come from outside the pod
    port: int = 8080
    progress_port: int = 0
    """Where pods tell how far they are; 0: nowhere."""
    election: Election = field(default_factory=Election)
    bundled: bool = True
    """Apply the Connectors that come with Towline."""
