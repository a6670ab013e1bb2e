"""`towline operator`: the process of the Deployment."""

from __future__ import annotations

import json
from typing import Any

import click

from towline.cli.errors import CliError


@click.command()
@click.option("--kubeconfig", default="", type=click.Path(), metavar="FILE", help="Outside a cluster: how to reach it.")
@click.option("--context", default="", help="A context of the kubeconfig.")
@click.option("--namespace", "namespaces", multiple=True, help="Work in this namespace only; may be repeated.")
@click.option("--image", default="towline:latest", show_default=True, help="Image of the connectors' pods.")
@click.option(
    "--image-pull-policy",
    type=click.Choice(["Always", "IfNotPresent", "Never"]),
    default="IfNotPresent",
    show_default=True,
)
@click.option("--image-pull-secret", "pull_secrets", multiple=True, help="For the connectors' pods; may be repeated.")
@click.option("--max-active-syncs", type=click.IntRange(1, 10000), default=10, show_default=True)
@click.option("--max-active-per-namespace", type=click.IntRange(0, 10000), default=0, help="0: no limit of its own.")
@click.option("--max-active-per-connector", type=click.IntRange(0, 10000), default=0, help="0: no limit of its own.")
@click.option("--job-resources", default="", metavar="JSON", help='For example {"limits": {"memory": "512Mi"}}.')
@click.option("--job-priority-class", default="", help="PriorityClass of the connectors' pods.")
@click.option(
    "--job-pod",
    default="",
    metavar="JSON",
    help="More of the connectors' pods: nodeSelector, tolerations, labels, annotations, securityContext.",
)
@click.option("--job-deadline", type=click.IntRange(60), default=3600, show_default=True, help="Seconds per attempt.")
@click.option(
    "--start-timeout",
    type=click.IntRange(1),
    default=300,
    show_default=True,
    help="Seconds that a pod may wait for its image or its volume.",
)
@click.option(
    "--destination-secret", default="", metavar="NAME", help="Default destination: a Secret with the key url."
)
@click.option("--data-claim", default="towline-data", show_default=True, help="Volume of the SQLite destination.")
@click.option("--data-size", default="10Gi", show_default=True)
@click.option("--data-storage-class", default="", help="The cluster's default class if left out.")
@click.option("--bundled/--no-bundled", default=True, show_default=True, help="Apply the bundled Connectors.")
@click.option(
    "--resync", type=click.FloatRange(1), default=600.0, show_default=True, help="Seconds between full lists."
)
@click.option("--secret-check", type=click.FloatRange(1), default=300.0, show_default=True, help="Seconds.")
@click.option(
    "--secret-recheck",
    type=click.FloatRange(1),
    default=15.0,
    show_default=True,
    help="Seconds, while something about a Secret has to be corrected.",
)
@click.option(
    "--watch-secrets/--no-watch-secrets",
    default=False,
    show_default=True,
    help="Notice changed Secrets within seconds; needs the right to watch them.",
)
@click.option(
    "--probe-every",
    type=click.FloatRange(0),
    default=300.0,
    show_default=True,
    help="Seconds between two health calls to a system, where its Connector does not say; 0: none.",
)
@click.option(
    "--activity-days",
    type=click.IntRange(1, 3650),
    default=90,
    show_default=True,
    help="How long records of activity are kept.",
)
@click.option("--requests-per-second", type=click.FloatRange(1), default=50.0, show_default=True)
@click.option(
    "--leader-elect/--no-leader-elect",
    "elect",
    default=False,
    show_default=True,
    help="Several operators: one leads, the others stand by.",
)
@click.option("--lease-namespace", default="default", show_default=True)
@click.option("--lease-name", default="towline-operator", show_default=True)
@click.option(
    "--lease-duration",
    type=click.FloatRange(1.5),
    default=15.0,
    show_default=True,
    help="Seconds after which a leader that is silent is replaced.",
)
@click.option(
    "--egress-allow",
    "egress_allow",
    multiple=True,
    metavar="CIDR[:PORT]",
    help="Private addresses that syncs and probes may connect to; may be repeated. Public ones are open.",
)
@click.option("--egress-deny", "egress_deny", multiple=True, metavar="CIDR[:PORT]", help="Addresses that they may not.")
@click.option("--host", default="0.0.0.0", show_default=True)  # noqa: S104  probes come from outside the pod
@click.option("--port", type=click.IntRange(1, 65535), default=8080, show_default=True)
@click.option(
    "--progress-port", type=click.IntRange(0, 65535), default=0, help="For reports of running syncs; 0: none."
)
@click.option("--progress-url", default="", metavar="URL", help="How a sync's pod reaches that port: a Service.")
@click.option(
    "--log-level", type=click.Choice(["DEBUG", "INFO", "WARNING", "ERROR"]), default="INFO", show_default=True
)
def operator(
    kubeconfig: str,
    context: str,
    namespaces: tuple[str, ...],
    image: str,
    image_pull_policy: str,
    pull_secrets: tuple[str, ...],
    max_active_syncs: int,
    max_active_per_namespace: int,
    max_active_per_connector: int,
    job_resources: str,
    job_priority_class: str,
    job_pod: str,
    job_deadline: int,
    start_timeout: int,
    destination_secret: str,
    data_claim: str,
    data_size: str,
    data_storage_class: str,
    bundled: bool,
    resync: float,
    secret_check: float,
    secret_recheck: float,
    watch_secrets: bool,
    probe_every: float,
    activity_days: int,
    requests_per_second: float,
    elect: bool,
    lease_namespace: str,
    lease_name: str,
    lease_duration: float,
    egress_allow: tuple[str, ...],
    egress_deny: tuple[str, ...],
    host: str,
    port: int,
    progress_port: int,
    progress_url: str,
    log_level: str,
) -> None:
    """Run the operator until SIGTERM. Each option can be set in the environment as TOWLINE_OPERATOR_…"""
    import asyncio
    import importlib
    import logging
    from importlib.metadata import version

    from towline.controller.leader import Election
    from towline.controller.main import run
    from towline.controller.memory import give_back
    from towline.controller.settings import Settings
    from towline.core.facts import RunSettings
    from towline.kube.access import AccessError, find_access

    logging.basicConfig(level=log_level, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    _audit_lines()
    give_back()
    resources = _resources(job_resources)
    runs = RunSettings(
        image=image,
        pull_policy=image_pull_policy,
        pull_secrets=pull_secrets,
        destination_secret=destination_secret,
        volume_name=data_claim,
        volume_size=data_size,
        storage_class=data_storage_class,
        deadline_seconds=job_deadline,
        activity_days=activity_days,
        start_timeout_seconds=start_timeout,
        priority_class=job_priority_class,
        pod=pod_settings(job_pod),
        resources=resources or RunSettings().resources,
        egress=_egress(egress_allow, egress_deny),
        progress_url=progress_url,
    )
    settings = Settings(
        runs=runs,
        namespaces=namespaces,
        max_active_syncs=max_active_syncs,
        max_active_per_namespace=max_active_per_namespace,
        max_active_per_connector=max_active_per_connector,
        resync_seconds=resync,
        secret_check_seconds=secret_check,
        secret_recheck_seconds=secret_recheck,
        watch_secrets=watch_secrets,
        probe_seconds=probe_every,
        requests_per_second=requests_per_second,
        host=host,
        port=port,
        progress_port=progress_port,
        election=_election(lease_namespace, lease_name, lease_duration) if elect else Election(),
        bundled=bundled,
    )
    try:
        access = find_access(kubeconfig, context)
    except AccessError as error:
        raise CliError(str(error)) from None
    # Now, not while the first Connector is judged: a sync would wait for it.
    importlib.import_module("towline_connectors.engine.compile")
    asyncio.run(run(settings, access, compile_problems, version("towline"), _prober()))


operator.context_settings = {"auto_envvar_prefix": "TOWLINE_OPERATOR"}


def compile_problems(connector: Any) -> list[str]:
    """What the engine finds wrong with a Connector's manifest. Imported late: few processes need the engine."""
    from towline_connectors.engine.compile import check_manifest
    from towline_connectors.engine.errors import EngineError

    try:
        check_manifest(connector.spec)
    except EngineError as error:
        return [error.message]
    return []


def _election(namespace: str, name: str, duration: float) -> Any:
    import platform
    import secrets

    from towline.controller.leader import Election
    from towline.kube.lease import Timing

    # A name of its own for each process: a container that starts again must not take itself for the old leader.
    identity = f"{platform.node()}_{secrets.token_hex(4)}"
    return Election(identity, namespace, name, Timing(duration, duration * 2 / 3, duration * 2 / 15))


def _audit_lines() -> None:
    """The record of activity goes to standard output, one JSON object a line; everything else to standard error."""
    import logging
    import sys

    audit = logging.getLogger("towline.audit")
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(logging.Formatter("%(message)s"))
    audit.addHandler(handler)
    audit.setLevel(logging.INFO)
    audit.propagate = False


def _prober() -> Any:
    made: list[Any] = []

    async def probe(target: Any, seconds: float) -> Any:
        if not made:
            # Imported at the first call: an operator without Integrations needs neither engine nor HTTP client.
            from towline.cli.probing import SystemProber

            made.append(SystemProber())
        return await made[0](target, seconds)

    return probe


def _egress(allow: tuple[str, ...], deny: tuple[str, ...]) -> Any:
    from towline.contract import Egress
    from towline_connectors.engine.addresses import EntryError, gate

    egress = Egress(allow=list(allow), deny=list(deny))
    try:
        gate(egress)
    except EntryError as error:
        raise click.BadParameter(str(error), param_hint="--egress-allow, --egress-deny") from None
    return egress


def _resources(text: str) -> dict[str, dict[str, str]]:
    return _object(text, "--job-resources", {"requests": dict, "limits": dict})


def pod_settings(text: str) -> Any:
    """What --job-pod says, as PodSettings."""
    from towline.core.facts import PodSettings
    from towline.core.restricted import CHOSEN

    option = "--job-pod"
    kinds: dict[str, type] = {
        "nodeSelector": dict,
        "tolerations": list,
        "labels": dict,
        "annotations": dict,
        "securityContext": dict,
    }
    found = _object(text, option, kinds)
    context = found.get("securityContext")
    if fixed := sorted(set(context or {}) - CHOSEN):
        may = ", ".join(sorted(CHOSEN))
        raise click.BadParameter(f"securityContext takes {may}; not {', '.join(fixed)}", param_hint=option)
    return PodSettings(
        node_selector=found.get("nodeSelector") or {},
        tolerations=tuple(found.get("tolerations") or ()),
        labels=found.get("labels") or {},
        annotations=found.get("annotations") or {},
        security_context=context,
    )


def _object(text: str, option: str, kinds: dict[str, type]) -> dict[str, Any]:
    """A JSON object with these fields at most, each of its kind; nothing when `text` is empty."""
    if not text:
        return {}
    try:
        found = json.loads(text)
    except json.JSONDecodeError as error:
        raise click.BadParameter(f"not JSON: {error}", param_hint=option) from None
    if not isinstance(found, dict) or set(found) - set(kinds):
        raise click.BadParameter(f"give an object with {', '.join(kinds)}", param_hint=option)
    for name, value in found.items():
        if not isinstance(value, kinds[name]):
            raise click.BadParameter(
                f"{name} has to be {'a list' if kinds[name] is list else 'an object'}", param_hint=option
            )
    return found
