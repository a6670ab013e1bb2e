"""`make bench-scale`: how the operator is with many Integrations, beside Kubernetes' own CronJob and Job controllers.

One `BENCH name value unit` per figure. A cluster of its own (API server, etcd, controller manager, scheduler; no node)
is made and taken down again. Sizes are parameters; the defaults are those that the figures' names speak of.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import ssl
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import orjson
from aiohttp import web
from kubernetes import client, config
from tests.chaos.stage import CONNECTOR, Victim
from tests.cluster import fixtures, lifecycle, processes
from tests.cluster.kubectl import kubectl

from towline.core.schedule import stable_offset
from towline.kube import wire

ROOT = Path(__file__).parents[2]
_NAME = f"{fixtures.PREFIX}-bench-{os.getpid()}"
_GROUP = "/apis/towline.dev/v1alpha1"
PARTS = ("start", "quiet", "singles", "burst", "ticks", "probes")


class Server:
    """The API server, asked by many callers at once."""

    def __init__(self, kubeconfig: Path) -> None:
        settings = client.Configuration()
        config.load_kube_config(str(kubeconfig), client_configuration=settings)
        context = ssl.create_default_context(cafile=settings.ssl_ca_cert)
        context.load_cert_chain(settings.cert_file, settings.key_file)
        self._base = settings.host.rstrip("/")
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=context, limit=32), timeout=aiohttp.ClientTimeout(total=None)
        )

    async def close(self) -> None:
        await self._session.close()

    async def call(
        self, verb: str, path: str, body: dict[str, Any] | None = None, content_type: str = "", **query: str
    ) -> dict[str, Any]:
        headers = {"Content-Type": content_type} if content_type else None
        async with self._session.request(verb, self._base + path, json=body, params=query, headers=headers) as answer:
            found: dict[str, Any] = await answer.json()
            if answer.status >= 300:
                raise RuntimeError(f"{verb} {path}: {answer.status} {found.get('message')}")
            return found

    async def create_all(self, path: str, bodies: Iterable[dict[str, Any]]) -> None:
        """Create many objects, 24 at a time."""
        gate = asyncio.Semaphore(24)

        async def one(body: dict[str, Any]) -> None:
            async with gate:
                await self.call("POST", path, body)

        async with asyncio.TaskGroup() as group:
            for body in bodies:
                group.create_task(one(body))

    @contextlib.asynccontextmanager
    async def heard(self, path: str) -> AsyncIterator[dict[str, float]]:
        """When each object that is made from now on is first heard of, by its name."""
        version = (await self.call("GET", path, limit="1"))["metadata"]["resourceVersion"]
        seen: dict[str, float] = {}
        async with asyncio.TaskGroup() as group:
            watch = group.create_task(self._watch(path, version, seen))
            yield seen
            watch.cancel()

    async def _watch(self, path: str, version: str, seen: dict[str, float]) -> None:
        while True:  # the server ends a watch now and then
            query = {"watch": "1", "resourceVersion": version}
            with contextlib.suppress(aiohttp.ClientError):
                async with self._session.get(self._base + path, params=query) as stream:
                    async for line in wire.lines(stream.content):
                        event = orjson.loads(line)
                        if event["type"] == "ERROR":
                            raise RuntimeError(f"watch {path}: {event['object'].get('message')}")
                        version = event["object"]["metadata"]["resourceVersion"]
                        if event["type"] == "ADDED":
                            seen.setdefault(event["object"]["metadata"]["name"], time.time())


async def until(what: str, look: Callable[[], Awaitable[bool]], seconds: float) -> bool:
    """Whether it came true in time; says so when not."""
    end = time.monotonic() + seconds
    while not await look():
        if time.monotonic() > end:
            print(f"# {what}: not within {seconds:.0f} s")
            return False
        await asyncio.sleep(0.2)
    return True


def bench(name: str, value: float, unit: str) -> None:
    print(f"BENCH {name} {value:.1f} {unit}", flush=True)


def percentile(values: list[float], share: float) -> float:
    return statistics.quantiles(values, n=100)[round(share * 100) - 1] if len(values) > 1 else float("nan")


def cpu_seconds(pid: int) -> float:
    """What a process has used of a processor so far."""
    user, system = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def integration(name: str, connector: str, **spec: Any) -> dict[str, Any]:
    meta = {"apiVersion": "towline.dev/v1alpha1", "kind": "Integration", "metadata": {"name": name}}
    return {**meta, "spec": {"connectorRef": {"name": connector}, **spec}}


def syncjob(name: str, of: str) -> dict[str, Any]:
    meta = {"apiVersion": "towline.dev/v1alpha1", "kind": "SyncJob", "metadata": {"name": name}}
    return {**meta, "spec": {"integrationRef": {"name": of}}}


def cronjob(name: str) -> dict[str, Any]:
    pod = {"restartPolicy": "Never", "containers": [{"name": "c", "image": "towline.example/run:test"}]}
    job = {"spec": {"backoffLimit": 0, "template": {"spec": pod}}}
    spec = {"schedule": "* * * * *", "concurrencyPolicy": "Forbid", "jobTemplate": job}
    return {"apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": name}, "spec": spec}


class Vendor:
    """Answers health calls and notes when each Integration asked."""

    def __init__(self) -> None:
        self.asked: dict[str, list[float]] = {}

    async def start(self) -> int:
        app = web.Application()
        app.router.add_get("/health/{name}", self._health)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        return int(runner.addresses[0][1])

    async def _health(self, request: web.Request) -> web.Response:
        self.asked.setdefault(request.match_info["name"], []).append(time.time())
        return web.json_response({})


class Bench:
    def __init__(self, server: Server, kubeconfig: Path, options: argparse.Namespace, manager: int) -> None:
        """`manager` is the process of Kubernetes' own controllers."""
        self.server, self.kubeconfig, self.options, self.manager = server, kubeconfig, options, manager
        self.folder = Path(tempfile.mkdtemp(prefix="towline-scale-"))
        self.namespaces = ("scale-small", "scale-large", "scale-burst")
        self.connector = "scale"
        self.operators: list[Victim] = []

    def operator(self, *options: str) -> Victim:
        always = ("--no-bundled", "--max-active-syncs=5000", "--probe-every=0")
        made = Victim(self.kubeconfig, self.folder / "operator.log", (*always, *options))
        self.operators.append(made)
        return made

    @property
    def small(self) -> int:
        """How many Integrations are in the small namespace."""
        return max(1, self.options.integrations // 10)

    async def prepare(self) -> None:
        for name in self.namespaces:
            await self.server.call("POST", "/api/v1/namespaces", {"metadata": {"name": name}})
        kubectl(self.kubeconfig, "create", "-f", "-", stdin=CONNECTOR % self.connector)
        for namespace, number in (("scale-small", self.small), ("scale-large", self.options.integrations - self.small)):
            path = f"{_GROUP}/namespaces/{namespace}/integrations"
            await self.server.create_all(path, (integration(f"i{n}", self.connector) for n in range(number)))

    async def settle(self, operator: Victim, minutes: float = 20) -> None:
        """Wait until the operator writes no more."""
        before = -1.0

        async def still() -> bool:
            nonlocal before
            last, before = before, await asyncio.to_thread(operator.number, "towline_api_writes_total")
            await asyncio.sleep(5)
            return last == before

        await until("the operator comes to rest", still, minutes * 60)

    async def large(self, parts: set[str]) -> None:
        """Everything that is done with all Integrations known."""
        label = f"{self.options.integrations / 1000:g}k"
        first = self.operator("--requests-per-second=400")  # the first status of each; not what is measured
        await asyncio.to_thread(first.start)
        await self.settle(first)
        first.stop()
        if "start" in parts:
            small = self.operator("--namespace=scale-small")
            await self.cold_start(small, f"{self.options.integrations / 10000:g}k")
            small.stop()
        operator = self.operator()
        await self.cold_start(operator, label)
        if "quiet" in parts:
            await self.settle(operator)
            writes = operator.number("towline_api_writes_total")
            await asyncio.sleep(self.options.quiet)
            quiet = (operator.number("towline_api_writes_total") - writes) * 60 / self.options.quiet
            bench(f"scale_{label}_quiet_writes_per_minute", quiet, "writes")
        if "singles" in parts:
            await self.one_after_another()
        if "burst" in parts:
            await self.burst(operator)
        if "ticks" in parts:
            await self.settle(operator)  # as Kubernetes' controller has nothing else to do either
            await self.ticks()
        bench(f"scale_{label}_rss_mib", operator.rss_mib(), "MiB")
        operator.stop()
        if "ticks" in parts:
            await self.cronjobs()

    async def cold_start(self, operator: Victim, label: str) -> None:
        began = time.monotonic()
        await asyncio.to_thread(operator.start)
        bench(f"scale_{label}_cold_start_seconds", time.monotonic() - began, "s")

    async def one_after_another(self) -> None:
        made: dict[str, float] = {}
        async with self.server.heard("/apis/batch/v1/namespaces/scale-small/jobs") as seen:
            for number in range(self.options.singles):
                name = f"single-{number}"
                body = syncjob(name, f"i{number % self.small}")
                await self.server.call("POST", f"{_GROUP}/namespaces/scale-small/syncjobs", body)
                made[f"{name}-1"] = time.time()
                await asyncio.sleep(0.1)
            await until("all Jobs", lambda: _have(seen, made), 60)
        late = [max(0.0, seen[name] - at) * 1000 for name, at in made.items() if name in seen]
        bench("syncjob_to_job_p50_ms", percentile(late, 0.5), "ms")
        bench("syncjob_to_job_p99_ms", percentile(late, 0.99), "ms")

    async def burst(self, operator: Victim) -> None:
        number = self.options.burst
        names = [f"burst-{index}" for index in range(number)]
        assert operator.process is not None
        async with self.server.heard("/apis/batch/v1/namespaces/scale-large/jobs") as seen:
            began, worked = time.time(), cpu_seconds(operator.process.pid)
            bodies = (syncjob(name, f"i{index}") for index, name in enumerate(names))
            await self.server.create_all(f"{_GROUP}/namespaces/scale-large/syncjobs", bodies)
            created = time.time() - began
            await until("a Job of each SyncJob", lambda: _have(seen, [f"{name}-1" for name in names]), 300)
        bench(f"burst_{number}_syncjobs_seconds", max(seen.values()) - began, "s")
        worked = cpu_seconds(operator.process.pid) - worked
        print(
            f"# of these, creating the SyncJobs took {created:.1f} s; the operator used {worked:.1f} s of a processor"
        )

    async def ticks(self) -> None:
        """Schedules that are due at the same minute."""
        place, number = "namespaces/scale-burst", self.options.ticks
        spec = {"schedule": {"cron": "* * * * *", "immediate": False}}
        async with self.server.heard(f"{_GROUP}/{place}/syncjobs") as syncs:
            bodies = [integration(f"t{n}", self.connector, **spec) for n in range(number)]
            await self.server.create_all(f"{_GROUP}/{place}/integrations", bodies)
            await until("a SyncJob of each", lambda: _count(syncs, number), 150)
        bench("tick_late_p99_ms", percentile([at - _tick(name) for name, at in syncs.items()], 0.99) * 1000, "ms")
        await self.server.call("DELETE", f"{_GROUP}/{place}/integrations")
        await until("no SyncJob", lambda: self._none(f"{_GROUP}/{place}/syncjobs"), 120)

    async def cronjobs(self) -> None:
        """Kubernetes' own controller: as many CronJobs that are due at the same minute; then a burst of them."""
        number = self.options.ticks
        bench("cronjob_tick_late_p99_ms", percentile(await self._cronjobs(number), 0.99) * 1000, "ms")
        worked = cpu_seconds(self.manager)
        lates = await self._cronjobs(self.options.burst)
        bench(f"burst_{self.options.burst}_cronjob_controller_seconds", max(lates), "s")
        print(f"# Kubernetes' controller manager used {cpu_seconds(self.manager) - worked:.1f} s of a processor for it")

    async def _cronjobs(self, number: int) -> list[float]:
        """Seconds from the minute at which so many CronJobs are due to the first Job of each."""
        place = "/apis/batch/v1/namespaces/scale-burst"
        async with self.server.heard(f"{place}/jobs") as jobs:
            await asyncio.sleep(60 - time.time() % 60 + 2)  # a whole minute to make them in
            await self.server.create_all(f"{place}/cronjobs", (cronjob(f"c{number}-{n}") for n in range(number)))
            minute = (time.time() // 60 + 1) * 60

            async def one_of_each() -> bool:
                return len({name.rpartition("-")[0] for name in jobs}) >= number

            await until("a Job of each CronJob", one_of_each, 300)
        await self.server.call("DELETE", f"{place}/cronjobs")
        await until("no Job of them", lambda: self._none(f"{place}/jobs"), 120)
        firsts: dict[str, float] = {}
        for name, at in jobs.items():
            firsts.setdefault(name.rpartition("-")[0], at)
        return [at - minute for name, at in firsts.items() if name.startswith(f"c{number}-")]

    async def _none(self, path: str) -> bool:
        return not (await self.server.call("GET", path, limit="1"))["items"]

    async def probes(self) -> None:
        """All Integrations probed once a minute."""
        vendor, namespace, number = Vendor(), "scale-probes", self.options.probes
        port = await vendor.start()
        await self.server.call("POST", "/api/v1/namespaces", {"metadata": {"name": namespace}})
        text = (CONNECTOR % "probed").replace("https://api.acme.example", f"http://127.0.0.1:{port}")
        text = text.replace("api.acme.example", "127.0.0.1")
        text += "  configSchema: {type: object, properties: {name: {type: string}}}\n"
        text += '  health: {request: {path: "/health/${config.name}"}, every: 1m}\n'
        kubectl(self.kubeconfig, "create", "-f", "-", stdin=text)
        path = f"{_GROUP}/namespaces/{namespace}/integrations"
        bodies = (integration(f"p{n}", "probed", config={"name": f"p{n}"}) for n in range(number))
        await self.server.create_all(path, bodies)
        operator = self.operator(f"--namespace={namespace}", "--requests-per-second=400", "--probe-every=60")
        await asyncio.to_thread(operator.start)
        await self.settle(operator)
        uids: dict[str, str] = {}
        token = ""
        while True:
            page = await self.server.call("GET", path, limit="500", **({"continue": token} if token else {}))
            uids |= {one["metadata"]["name"]: one["metadata"]["uid"] for one in page["items"]}
            token = page["metadata"].get("continue") or ""
            if not token:
                break
        assert operator.process is not None
        await asyncio.sleep(60)  # new ones are probed at once; from now on each has its second of the minute
        vendor.asked.clear()
        worked = cpu_seconds(operator.process.pid)
        await asyncio.sleep(61)
        worked = cpu_seconds(operator.process.pid) - worked
        arrivals = [(name, at) for name, times in vendor.asked.items() for at in times]
        late = [(at - stable_offset(uids[name], 60)) % 60 for name, at in arrivals]
        bench("probe_per_minute", len(arrivals) * 60 / 61, "probes")
        bench("probe_late_p99_ms", percentile(late, 0.99) * 1000, "ms")
        each = worked * 1000 / max(1, len(arrivals))
        print(f"# the operator used {each:.1f} ms of a processor for each, and has {operator.rss_mib():.0f} MiB")
        operator.stop()


def _tick(name: str) -> float:
    """The time at which the SyncJob of this name was due."""
    return datetime.strptime(name[-16:], "%Y%m%dt%H%M%Sz").replace(tzinfo=UTC).timestamp()


async def _have(seen: dict[str, float], names: Iterable[str]) -> bool:
    return all(name in seen for name in names)


async def _count(seen: dict[str, float], number: int) -> bool:
    return len(seen) >= number


async def run(kubeconfig: Path, options: argparse.Namespace, manager: int) -> None:
    server = Server(kubeconfig)
    bench_ = Bench(server, kubeconfig, options, manager)
    parts = set(options.only or PARTS)
    try:
        if parts - {"probes"}:
            await bench_.prepare()
            await bench_.large(parts)
        else:
            kubectl(kubeconfig, "create", "-f", "-", stdin=CONNECTOR % bench_.connector)
        if "probes" in parts:
            await bench_.probes()
    finally:
        await server.close()
        for operator in bench_.operators:
            operator.stop_if_running()


def main() -> int:
    parser = argparse.ArgumentParser(prog="make bench-scale", description=__doc__)
    parser.add_argument("--integrations", type=int, default=10_000)
    parser.add_argument("--burst", type=int, default=1000, help="SyncJobs, and CronJobs, at once")
    parser.add_argument("--singles", type=int, default=200, help="SyncJobs one after another")
    parser.add_argument("--ticks", type=int, default=100, help="schedules that are due at once")
    parser.add_argument("--probes", type=int, default=10_000, help="Integrations that are probed once a minute")
    parser.add_argument("--quiet", type=float, default=180, help="seconds in which nothing should be written")
    parser.add_argument("--only", action="append", choices=PARTS, help="this part; may be repeated")
    options = parser.parse_args()
    cluster = lifecycle.up(_NAME, "control-plane")
    try:
        kubectl(cluster.kubeconfig, "apply", "--server-side", "--force-conflicts", "-f", str(ROOT / "crds"))
        kubectl(cluster.kubeconfig, "wait", "--for=condition=Established", "--timeout=60s", "crd", "--all")
        assert cluster.record is not None
        manager = processes.read_record(cluster.record.pid_file("kube-controller-manager"))
        assert manager is not None
        asyncio.run(run(cluster.kubeconfig, options, manager.pid))
    finally:
        lifecycle.down(_NAME)
    return 0


if __name__ == "__main__":
    sys.exit(main())
