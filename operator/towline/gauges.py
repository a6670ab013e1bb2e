"""The gauges of all Integrations, written at each scrape as Prometheus reads them.

By hand, and not by way of the client library's objects: ten thousand Integrations have 170,000 lines, for which those
take two seconds in which nothing else is done, and this a tenth of it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

_HELP = {
    "towline_integration_expiry_timestamp_seconds": "When credentials or the system's certificate expire, if known",
    "towline_integration_records_today": "Records read since midnight UTC",
    "towline_integration_info": "Integrations, to join with",
    "towline_integration_condition": "Conditions; 1 for the status that holds",
    "towline_integration_stalled": "Integrations that wait for a person, by reason",
    "towline_integration_suspended": "1 while suspended",
    "towline_integration_last_success_timestamp_seconds": "When the last sync succeeded",
    "towline_integration_expected_interval_seconds": "Time between two scheduled syncs",
    "towline_integration_consecutive_failures": "Failed syncs since the last success",
    "towline_integration_health": "State of the system as probes find it",
    "towline_integration_probe_seconds": "Smoothed time of a probe that was answered",
    "towline_integration_last_probe_timestamp_seconds": "When the last probe ended",
    "towline_integration_success_rate": "Share of the last 24 hours' syncs that succeeded",
    "towline_integration_sync_seconds": "Mean time of the last 24 hours' syncs",
}


@dataclass(frozen=True, slots=True)
class IntegrationSample:
    """What the metrics tell of one Integration."""

    namespace: str
    name: str
    connector: str
    category: str
    conditions: tuple[tuple[str, str, str], ...]
    """Type, status, reason."""
    suspended: bool
    last_success: float | None
    interval: float | None
    failures: int
    success_rate: float | None = None
    """Of the last 24 hours, from 0 to 1."""
    mean_seconds: float | None = None
    records_today: int = 0
    """Read since midnight UTC."""
    health: str = ""
    """State that probes found; empty where nothing is probed."""
    probe_seconds: float | None = None
    last_probe: float | None = None
    expiries: tuple[tuple[str, float], ...] = ()
    """Pairs of what (credentials, certificate) and when."""


def page(samples: Iterable[IntegrationSample]) -> bytes:
    """The samples in Prometheus' text format, labels in the order of their names."""
    lines: dict[str, list[str]] = {name: [] for name in _HELP}
    for sample in samples:
        _add(lines, sample)
    parts = []
    for name, about in _HELP.items():
        head = f"# HELP {name} {about}\n# TYPE {name} gauge"
        parts.append("\n".join([head, *lines.pop(name), ""]).encode())  # no line is kept longer than needed
    return b"".join(parts)


def _add(lines: dict[str, list[str]], sample: IntegrationSample) -> None:
    name, namespace = _escaped(sample.name), _escaped(sample.namespace)
    where = f'integration="{name}",namespace="{namespace}"'

    def put(metric: str, value: float | None, labels: str = where) -> None:
        if value is not None:
            lines[metric].append(f"{metric}{{{labels}}} {float(value)!r}")

    about = f'category="{_escaped(sample.category)}",connector="{_escaped(sample.connector)}",{where}'
    put("towline_integration_info", 1, about)
    put("towline_integration_suspended", sample.suspended)
    put("towline_integration_consecutive_failures", sample.failures)
    put("towline_integration_last_success_timestamp_seconds", sample.last_success)
    put("towline_integration_expected_interval_seconds", sample.interval)
    put("towline_integration_success_rate", sample.success_rate)
    put("towline_integration_records_today", sample.records_today)
    put("towline_integration_sync_seconds", sample.mean_seconds)
    put("towline_integration_probe_seconds", sample.probe_seconds)
    put("towline_integration_last_probe_timestamp_seconds", sample.last_probe)
    if sample.health:
        put("towline_integration_health", 1, f'{where},state="{_escaped(sample.health)}"')
    for what, moment in sample.expiries:
        put("towline_integration_expiry_timestamp_seconds", moment, f'{where},what="{_escaped(what)}"')
    for type_, status, reason in sample.conditions:
        # Three series for Ready, one for the others: enough to alert on, a third of the series.
        for each in ("True", "False", "Unknown") if type_ == "Ready" else ("True",):
            labels = f'{where},status="{each}",type="{_escaped(type_)}"'
            put("towline_integration_condition", status == each, labels)
        if type_ == "Stalled" and status == "True":
            put("towline_integration_stalled", 1, f'{where},reason="{_escaped(reason)}"')


def _escaped(value: str) -> str:
    """Conditions of others may hold anything."""
    if '"' in value or "\\" in value or "\n" in value:
        return value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")
    return value
