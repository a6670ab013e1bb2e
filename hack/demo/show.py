"""What the demo has to show: the objects, the rows, the metrics, and what to try next. All on standard output."""

from __future__ import annotations

from dataclasses import dataclass

from hack.demo.systems import manifest
from hack.demo.target import RELEASE, SYSTEM_NAMESPACE, Target

# The metrics that tell whether integrations work, and how much they brought.
METRICS = (
    "towline_integration_condition",
    "towline_integration_last_success_timestamp_seconds",
    "towline_sync_runs_total",
    "towline_sync_records_total",
    "towline_upstream_requests_total",
)


@dataclass(frozen=True)
class Glance:
    """One look at the rows; `container` is the destination in the pod `data`."""

    title: str
    container: str
    arguments: tuple[str, ...]


GLANCES = (
    Glance("Rows on the SQLite volume", "sqlite", ()),
    Glance("Rows in PostgreSQL", "postgresql", ()),
    Glance(
        "Open vulnerabilities of hosts (from Tenable)",
        "sqlite",
        ("open_vulnerabilities", "--limit", "5"),
    ),
    Glance("People and their groups (from the directory)", "sqlite", ("user_groups", "--limit", "5")),
    Glance(
        "Incidents (from ServiceNow)",
        "postgresql",
        ("incident", "--columns", "number,title,priority,status_id,created_time", "--limit", "5"),
    ),
)


def objects(target: Target, namespace: str) -> str:
    """kubectl's own view."""
    return "\n".join(
        [
            _heading("kubectl get connectors"),
            target.kubectl("get", "connectors"),
            _heading(f"kubectl -n {namespace} get integrations,syncjobs"),
            target.kubectl("-n", namespace, "get", "integrations,syncjobs"),
        ]
    )


def rows(target: Target, namespace: str, image: str) -> str:
    """Counts and some rows, read by the pod `data`, which stays for more questions."""
    text = manifest("data", image=image)
    target.kubectl("-n", namespace, "apply", "--server-side", "--force-conflicts", "-f", "-", stdin=text)
    target.kubectl("-n", namespace, "wait", "--for=condition=Ready", "pod/data", "--timeout=120s", timeout=130)
    parts = []
    for glance in GLANCES:
        parts.append(_heading(f"{glance.title}: {_shorter(glance, namespace)}"))
        parts.append(target.kubectl("-n", namespace, *_exec(glance)))
    return "\n".join(parts)


def metrics(target: Target) -> str:
    """The samples of the operator's /metrics that matter for these integrations."""
    path = f"/api/v1/namespaces/{SYSTEM_NAMESPACE}/services/{RELEASE}-metrics:metrics/proxy/metrics"
    lines = target.kubectl("get", "--raw", path).splitlines()
    kept = [line for line in lines if line.startswith(METRICS) and not line.endswith(" 0.0")]
    return "\n".join([_heading("Metrics of the operator"), *sorted(kept), ""])


def next_steps(target: Target, namespace: str, integration: str) -> str:
    """Commands to copy."""
    glance = Glance("", "sqlite", ("asset", "--limit", "20"))
    commands = (
        ("Look around", f"kubectl -n {namespace} get integrations -o wide"),
        ("Why is it as it is", f"kubectl -n {namespace} describe integration {integration}"),
        ("Sync now", f"kubectl -n {namespace} annotate integration {integration} --overwrite "
                     'towline.dev/requested-at="$(date +%s)"'),
        ("Follow it", f"kubectl -n {namespace} get syncjobs --watch"),
        ("More rows", f"kubectl -n {namespace} {' '.join(_exec(glance))}"),
        ("Break something", f"kubectl -n {namespace} patch secret {integration} --type=merge "
                            """-p '{"stringData":{"secret_key":"wrong"}}'"""),
        ("All metrics", f"kubectl get --raw /api/v1/namespaces/{SYSTEM_NAMESPACE}/services/{RELEASE}-metrics:metrics"
                        "/proxy/metrics"),
        ("Remove it all", "make demo-down"),
    )  # fmt: skip
    lines = [_heading("What to try next"), f"export KUBECONFIG={target.kubeconfig}"]
    for title, command in commands:
        lines += [f"# {title}", command]
    return "\n".join(lines)


def _exec(glance: Glance) -> tuple[str, ...]:
    return ("exec", "data", "-c", glance.container, "--", "towline", "data", *glance.arguments)


def _shorter(glance: Glance, namespace: str) -> str:
    return f"kubectl -n {namespace} {' '.join(_exec(glance))}"


def _heading(text: str) -> str:
    return f"\n── {text}"
