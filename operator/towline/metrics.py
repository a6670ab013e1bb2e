"""Prometheus metrics. Gauges of Integrations are made at each scrape from their status, so they neither get lost
at a restart nor outlive their object; what happens is counted as it happens.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from towline.contract import RunResult

_SECONDS = (1, 2, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 7200, 14400)


@dataclass(frozen=True)
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


class _Integrations(Collector):
    """Makes the gauges of all Integrations anew at each scrape."""

    def __init__(self, samples: Callable[[], Iterable[IntegrationSample]]) -> None:
        self._samples = samples

    def collect(self) -> Iterator[Metric]:
        place = ["namespace", "integration"]
        info = GaugeMetricFamily(
            "towline_integration_info", "Integrations, to join with", labels=[*place, "connector", "category"]
        )
        condition = GaugeMetricFamily(
            "towline_integration_condition",
            "Conditions; 1 for the status that holds",
            labels=[*place, "type", "status"],
        )
        stalled = GaugeMetricFamily(
            "towline_integration_stalled", "Integrations that wait for a person, by reason", labels=[*place, "reason"]
        )
        suspended = GaugeMetricFamily("towline_integration_suspended", "1 while suspended", labels=place)
        success = GaugeMetricFamily(
            "towline_integration_last_success_timestamp_seconds", "When the last sync succeeded", labels=place
        )
        interval = GaugeMetricFamily(
            "towline_integration_expected_interval_seconds", "Time between two scheduled syncs", labels=place
        )
        failures = GaugeMetricFamily(
            "towline_integration_consecutive_failures", "Failed syncs since the last success", labels=place
        )
        records = GaugeMetricFamily(
            "towline_integration_records_today", "Records read since midnight UTC", labels=place
        )
        expires = GaugeMetricFamily(
            "towline_integration_expiry_timestamp_seconds",
            "When credentials or the system's certificate expire, where that is known",
            labels=[*place, "what"],
        )
        health = GaugeMetricFamily(
            "towline_integration_health", "State of the system as probes find it", labels=[*place, "state"]
        )
        latency = GaugeMetricFamily(
            "towline_integration_probe_seconds", "Smoothed time of a probe that was answered", labels=place
        )
        rate = GaugeMetricFamily(
            "towline_integration_success_rate", "Share of the last 24 hours' syncs that succeeded", labels=place
        )
        mean = GaugeMetricFamily(
            "towline_integration_sync_seconds", "Mean time of the last 24 hours' syncs", labels=place
        )
        probed = GaugeMetricFamily(
            "towline_integration_last_probe_timestamp_seconds", "When the last probe ended", labels=place
        )
        for sample in self._samples():
            where = [sample.namespace, sample.name]
            info.add_metric([*where, sample.connector, sample.category], 1)
            suspended.add_metric(where, float(sample.suspended))
            failures.add_metric(where, sample.failures)
            if sample.last_success is not None:
                success.add_metric(where, sample.last_success)
            if sample.interval is not None:
                interval.add_metric(where, sample.interval)
            if sample.success_rate is not None:
                rate.add_metric(where, sample.success_rate)
            records.add_metric(where, sample.records_today)
            if sample.mean_seconds is not None:
                mean.add_metric(where, sample.mean_seconds)
            if sample.health:
                health.add_metric([*where, sample.health], 1)
            if sample.probe_seconds is not None:
                latency.add_metric(where, sample.probe_seconds)
            if sample.last_probe is not None:
                probed.add_metric(where, sample.last_probe)
            for what, moment in sample.expiries:
                expires.add_metric([*where, what], moment)
            for type_, status, reason in sample.conditions:
                # Three series for Ready, one for the others: enough to alert on, a third of the series.
                statuses = ("True", "False", "Unknown") if type_ == "Ready" else ("True",)
                for each in statuses:
                    condition.add_metric([*where, type_, each], float(status == each))
                if type_ == "Stalled" and status == "True":
                    stalled.add_metric([*where, reason], 1)
        yield from (
            expires,
            records,
            info,
            condition,
            stalled,
            suspended,
            success,
            interval,
            failures,
            health,
            latency,
            probed,
            rate,
            mean,
        )


class Metrics:
    """All metrics of one operator process, in a registry of its own."""

    def __init__(self, samples: Callable[[], Iterable[IntegrationSample]], version: str) -> None:
        self.registry = CollectorRegistry()
        self.registry.register(_Integrations(samples))
        registry = self.registry
        about = ["version", "revision", "python"]
        build = Gauge("towline_build_info", "The running version and its commit", about, registry=registry)
        build.labels(version, os.environ.get("TOWLINE_REVISION", ""), platform.python_version()).set(1)
        self.runs = Counter(
            "towline_sync_runs",
            "SyncJobs that ended",
            ["namespace", "integration", "trigger", "reason"],
            registry=registry,
        )
        self.duration = Histogram(
            "towline_sync_duration_seconds", "From start to end", ["connector"], buckets=_SECONDS, registry=registry
        )
        self.queued = Histogram(
            "towline_sync_queue_seconds", "From creation to start", ["connector"], buckets=_SECONDS, registry=registry
        )
        self.records = Counter(
            "towline_sync_records",
            "Records by what became of them",
            ["namespace", "integration", "stream", "operation"],
            registry=registry,
        )
        self.upstream = Counter(
            "towline_upstream_requests", "Requests to vendors", ["connector", "code"], registry=registry
        )
        self.missed = Counter(
            "towline_sync_missed", "Scheduled syncs that never started", ["namespace", "integration"], registry=registry
        )
        self.active = Gauge("towline_sync_active", "SyncJobs that run", registry=registry)
        self.limit = Gauge("towline_sync_limit", "SyncJobs that may run at once", registry=registry)
        self.waiting = Gauge("towline_sync_queued", "SyncJobs that wait for a slot", registry=registry)
        self.reports = Counter(
            "towline_progress_reports", "Reports of running pods by the answer's code", ["code"], registry=registry
        )
        self.probes = Counter(
            "towline_probes", "Health calls by what they found", ["connector", "reason"], registry=registry
        )
        self.probe_overhead = Histogram(
            "towline_probe_overhead_seconds",
            "Time of a health call beside the request itself",
            buckets=(0.001, 0.002, 0.005, 0.01, 0.05, 0.5),
            registry=registry,
        )
        self.open_hosts = Gauge(
            "towline_probe_hosts_resting",
            "Hosts that fail so often that they are asked now and then",
            registry=registry,
        )
        self.api_requests = Gauge(
            "towline_api_requests", "Requests to the API server since the start, watches apart", registry=registry
        )
        self.api_writes = Gauge(
            "towline_api_writes", "Requests that change something, since the start", registry=registry
        )
        self.leader = Gauge("towline_leader", "1 in the operator that leads, 0 in a stand-by", registry=registry)
        self.epoch = Gauge("towline_leader_epoch", "Number of the leader, grows at each takeover", registry=registry)
        self.reconcile = Histogram(
            "towline_reconcile_duration_seconds",
            "Time to reconcile one object",
            ["kind"],
            buckets=(0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 30),
            registry=registry,
        )
        self.errors = Counter("towline_reconcile_errors", "Reconciliations that failed", ["kind"], registry=registry)
        self.last_event = Gauge(
            "towline_watch_last_event_timestamp_seconds", "Last event of a watch", ["resource"], registry=registry
        )
        self.watch_missed = Counter(
            "towline_watch_missed", "Changes that only a full list showed", ["resource"], registry=registry
        )
        self.watch_restarts = Gauge("towline_watch_restarts", "Times that watching was started anew", registry=registry)

    def count_result(
        self, namespace: str, integration: str, connector: str, result: RunResult, known: set[str]
    ) -> None:
        """Count what an attempt read and asked. Streams that the Connector does not have are not counted."""
        for stream in result.streams:
            if stream.name not in known:
                continue
            for operation in ("read", "upserted", "deleted", "rejected"):
                if amount := getattr(stream, operation):
                    self.records.labels(namespace, integration, stream.name, operation).inc(amount)
        for code, amount in result.http.items():
            if code in ("2xx", "3xx", "4xx", "5xx", "429") and amount > 0:
                self.upstream.labels(connector, code).inc(amount)

    def forget(self, namespace: str, integration: str) -> None:
        """Drop the counters of an Integration that was deleted."""
        for counter in (self.runs, self.records, self.missed):
            for labels in [sample.labels for metric in counter.collect() for sample in metric.samples]:
                if labels["namespace"] == namespace and labels["integration"] == integration:
                    names = ("trigger", "reason") if counter is self.runs else ("stream", "operation")
                    more = [labels[name] for name in names if name in labels]
                    counter.remove(namespace, integration, *more)

    def text(self) -> bytes:
        """The page that Prometheus reads."""
        return generate_latest(self.registry)
