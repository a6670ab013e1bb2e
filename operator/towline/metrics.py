"""Prometheus metrics. Gauges of Integrations are made at each scrape from their status (`gauges`), so they neither get
lost at a restart nor outlive their object; what happens is counted as it happens.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

from towline import gauges
from towline.contract import RunResult
from towline.gauges import IntegrationSample

_SECONDS = (1, 2, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 7200, 14400)


class Metrics:
    """All metrics of one operator process, in a registry of its own."""

    def __init__(self, samples: Callable[[], Iterable[IntegrationSample]], version: str) -> None:
        """`samples` is asked at each scrape, from another thread."""
        self.registry = CollectorRegistry()
        self._samples = samples
        self._series: dict[tuple[str, str], set[tuple[Counter, tuple[str, ...]]]] = {}
        self._reached: dict[Counter, float] = {}
        registry = self.registry
        ProcessCollector(registry=registry)  # memory, processor time, files and start of this process
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
        self.limited = Counter(
            "towline_sync_rate_limited_requests",
            "Requests of syncs that a vendor answered with 429",
            ["namespace", "integration"],
            registry=registry,
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
        self.api_requests = Counter(
            "towline_api_requests", "Requests to the API server, watches apart", registry=registry
        )
        self.api_writes = Counter(
            "towline_api_writes", "Requests to the API server that change something", registry=registry
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
        self.watch_restarts = Counter(
            "towline_watch_restarts", "Times that watching was started anew", registry=registry
        )

    def count_result(
        self, namespace: str, integration: str, connector: str, result: RunResult, known: set[str]
    ) -> None:
        """Count what an attempt read and asked. Streams that the Connector does not have are not counted."""
        for stream in result.streams:
            if stream.name not in known:
                continue
            for operation in ("read", "upserted", "deleted", "rejected"):
                if amount := getattr(stream, operation):
                    self.count(self.records, namespace, integration, stream.name, operation, amount=amount)
        for code, amount in result.http.items():
            if code in ("2xx", "3xx", "4xx", "5xx", "429") and amount > 0:
                self.upstream.labels(connector, code).inc(amount)
        if (limited := result.http.get("429", 0)) > 0:
            self.count(self.limited, namespace, integration, amount=limited)

    def reach(self, counter: Counter, total: float) -> None:
        """Bring a counter without labels to what something else has counted since the start."""
        counter.inc(total - self._reached.get(counter, 0.0))
        self._reached[counter] = total

    def count(self, counter: Counter, namespace: str, integration: str, *more: str, amount: float = 1) -> None:
        """Add to a counter of an Integration. `more`: its further labels, in their order."""
        counter.labels(namespace, integration, *more).inc(amount)
        self._series.setdefault((namespace, integration), set()).add((counter, more))

    def forget(self, namespace: str, integration: str) -> None:
        """Drop the counters of an Integration that was deleted."""
        for counter, more in self._series.pop((namespace, integration), ()):
            counter.remove(namespace, integration, *more)

    def text(self) -> bytes:
        """The page that Prometheus reads. Takes a while: call it where nobody waits."""
        return generate_latest(self.registry) + gauges.page(self._samples())
