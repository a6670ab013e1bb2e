"""What the demo has to show: the objects, the rows, the metrics, and what to try next. All on standard output."""

from __future__ import annotations

import shutil
from dataclasses import dataclass

from hack.demo.systems import manifest
from hack.demo.target import RELEASE, SYSTEM_NAMESPACE, Target
from tests.cluster.kubectl import find_kubectl

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
        ("open_vulnerabilities", "--columns", "hostname,ip,severity,title,vpr_score", "--limit", "5"),
    ),
    Glance(
        "People and their groups (from the directory)",
        "sqlite",
        ("user_groups", "--columns", "user_name,full_name,email_addr,group_name", "--limit", "5"),
    ),
    Glance(
        "Incidents (from ServiceNow)",
        "postgresql",
        ("incident", "--columns", "number,title,priority_id,status,opened_time", "--limit", "5"),
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
    ask = (
        f'kubectl -n {namespace} annotate integration {integration} --overwrite towline.dev/requested-at="$(date +%s)"'
    )

    def keys(value: str) -> str:
        patch = f"""'{{"stringData":{{"secret_key":"{value}"}}}}'"""
        return f"kubectl -n {namespace} patch secret {integration} --type=merge -p {patch}"

    path = f"/api/v1/namespaces/{SYSTEM_NAMESPACE}/services/{RELEASE}-metrics:metrics/proxy/metrics"
    commands = (
        ("Look around", f"kubectl -n {namespace} get integrations -o wide"),
        ("What happened to one of them", f"kubectl -n {namespace} describe integration {integration}"),
        ("Sync now, and follow it", f"{ask}\nkubectl -n {namespace} get syncjobs --watch"),
        ("More rows", f"kubectl -n {namespace} {' '.join(_exec(glance))}"),
        ("Spoil the credentials and see what it says", f"{keys('wrong')}\n{ask}\n"
                                                       f"kubectl -n {namespace} get integration {integration} -o wide"),
        ("Put them right: it goes on by itself, within 15 s", keys("simulator")),
        ("All metrics", f"kubectl get --raw {path}"),
        ("Remove it all", "make demo-down"),
    )  # fmt: skip
    lines = [_heading("What to try next"), f"export KUBECONFIG={target.kubeconfig}"]
    if shutil.which("kubectl") is None:
        lines.append(f"alias kubectl={find_kubectl()}")
    for title, command in commands:
        lines += [f"# {title}", command]
    return "\n".join(lines)


def _exec(glance: Glance) -> tuple[str, ...]:
    return ("exec", "data", "-c", glance.container, "--", "towline", "data", *glance.arguments)


def _shorter(glance: Glance, namespace: str) -> str:
    return f"kubectl -n {namespace} {' '.join(_exec(glance))}"


def _heading(text: str) -> str:
    return f"\n── {text}"
