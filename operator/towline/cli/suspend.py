"""`towline suspend` and `towline resume`: stop an Integration's schedule for a while, and go on."""

from __future__ import annotations

import click

from towline.cli import cluster, completing
from towline.cli.output import say


@click.command()
@click.argument("names", nargs=-1, required=True, metavar="NAME...", shell_complete=completing.integrations)
@cluster.options
def suspend(names: tuple[str, ...], kubeconfig: str | None, context: str | None, namespace: str | None) -> None:
    """Start no new syncs of the Integrations NAME until they are resumed. What runs goes on to its end."""
    _set(True, names, cluster.connect(kubeconfig, context, namespace))


@click.command()
@click.argument("names", nargs=-1, required=True, metavar="NAME...", shell_complete=completing.integrations)
@cluster.options
def resume(names: tuple[str, ...], kubeconfig: str | None, context: str | None, namespace: str | None) -> None:
    """Let the Integrations NAME sync on schedule again."""
    _set(False, names, cluster.connect(kubeconfig, context, namespace))


def _set(suspended: bool, names: tuple[str, ...], connection: cluster.Cluster) -> None:
    for name in names:
        connection.integration(name)  # a mistyped name gets its sentence before anything is changed
    for name in names:
        item = connection.integration(name)
        where = f"{connection.namespace}/{name}"
        word = "suspended" if suspended else "resumed"
        if bool(item["spec"].get("suspend")) == suspended:
            say("✔", f"{where} is {'suspended' if suspended else 'not suspended'} already")
            continue
        connection.patch("integrations", name, {"spec": {"suspend": suspended}})
        active = [entry["name"] for entry in (item.get("status") or {}).get("active") or []]
        still = f"; {', '.join(active)} runs to its end" if suspended and active else ""
        say("✔", f"{where} {word}{still}")
        if manager := _declared_by(item):
            say("!", f"Its spec is managed by {manager}, which may set it back: change spec.suspend there too.")


def _declared_by(item: dict[str, object]) -> str:
    """A GitOps controller that applies this object, judged by what it leaves on it."""
    metadata = item["metadata"]
    assert isinstance(metadata, dict)
    known = {*(metadata.get("labels") or {}), *(metadata.get("annotations") or {})}
    for key, manager in (
        ("kustomize.toolkit.fluxcd.io/name", "Flux"),
        ("helm.toolkit.fluxcd.io/name", "Flux"),
        ("argocd.argoproj.io/tracking-id", "Argo CD"),
        ("meta.helm.sh/release-name", "Helm"),
    ):
        if key in known:
            return manager
    return ""
