"""Towline installed on a real node by its chart, and what the end-to-end tests ask of it."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from hack.demo.systems import secret
from hack.demo.target import RELEASE, SYSTEM_NAMESPACE, Target

T = TypeVar("T")
INSTALLED_WITH = ("extraArgs={--start-timeout=40}",)
"""Values for the chart: a pod that cannot start is given up soon, or the tests of that would take minutes."""
SELDOM: dict[str, Any] = {"interval": "1000d"}
"""A schedule that comes due during no test. Where in its interval an Integration syncs is its own matter: of an hour, a
test that takes a minute would see one tick in sixty, and a sync that it does not expect."""
VENDOR_SECRET = "s3cr3t-of-the-tests-9f1d"
"""What must never be seen outside a Secret; simulators refuse it, since theirs is `simulator`."""


@dataclass(frozen=True)
class Towline:
    """The installation under test."""

    target: Target
    image: str

    def integration(
        self,
        namespace: str,
        name: str,
        connector: str,
        config: dict[str, Any],
        credentials: dict[str, str],
        host: str,
        **spec: Any,
    ) -> None:
        """Apply an Integration and its Secret of the same name; it syncs at once, and then no more."""
        consent = {"towline.dev/allowed-hosts": host}
        self.target.apply(
            secret(namespace, name, credentials, **consent),
            {
                "apiVersion": "towline.dev/v1alpha1",
                "kind": "Integration",
                "metadata": {"name": name, "namespace": namespace},
                "spec": {
                    "connectorRef": {"name": connector},
                    "config": config,
                    "credentials": {"secretRef": {"name": name}},
                    "schedule": SELDOM,
                    **spec,
                },
            },
        )

    def tenable(self, namespace: str, name: str, host: str, secret_key: str = "simulator", **spec: Any) -> None:
        """An Integration of the Tenable simulator at `host`."""
        # The streams whose rows the tests count; the connector's own tests read all of them.
        spec = {"streams": [{"name": name} for name in ("assets", "deleted-assets", "vulnerabilities")], **spec}
        keys = {"access_key": "simulator", "secret_key": secret_key}
        config = {"base_url": f"http://{host}", "severities": ["info", "low", "medium", "high", "critical"]}
        self.integration(namespace, name, "tenable-io", config, keys, host, **spec)

    def servicenow(
        self,
        namespace: str,
        name: str,
        host: str,
        password: str = "simulator",
        *,
        lingering: bool = False,
        **spec: Any,
    ) -> None:
        """An Integration of the ServiceNow simulator at `host`. A `lingering` one asks for change requests at the
        end, which the tests' simulator holds back: its sync is at work however late one looks for it."""
        names = ["users", "groups", "memberships", "servers", "computers", "incidents"]
        names += ["change-requests"] if lingering else []
        spec = {"streams": [{"name": each} for each in names], **spec}
        keys = {"username": "simulator", "password": password}
        self.integration(namespace, name, "servicenow", {"host": host, "scheme": "http"}, keys, host, **spec)

    def get(self, namespace: str, kind: str, name: str) -> dict[str, Any]:
        """One object; empty when there is none."""
        return next(iter(self.target.objects("-n", namespace, kind, name)), {})

    def runs(self, namespace: str, integration: str) -> list[dict[str, Any]]:
        """The SyncJobs of an Integration, the oldest first."""
        found = self.target.objects("-n", namespace, "syncjobs")
        own = [each for each in found if each["spec"]["integrationRef"]["name"] == integration]
        return sorted(own, key=lambda each: str(each["metadata"]["creationTimestamp"]))

    def pods(self, namespace: str, integration: str) -> list[dict[str, Any]]:
        """The pods of an Integration's syncs, the newest last."""
        found = self.target.objects("-n", namespace, "pods", f"--selector=towline.dev/integration={integration}")
        return sorted(found, key=lambda each: str(each["metadata"]["creationTimestamp"]))

    def result(self, namespace: str, integration: str, seconds: float = 120) -> dict[str, Any]:
        """The condition Succeeded of an Integration's newest SyncJob, once it is True or False."""

        def ended() -> dict[str, Any] | None:
            runs = self.runs(namespace, integration)
            found = condition(runs[-1], "Succeeded") if runs else {}
            return found if found.get("status") in {"True", "False"} else None

        return until(ended, seconds, lambda: self.describe(namespace, integration))

    def condition(self, namespace: str, name: str, type_: str, reason: str, seconds: float = 60) -> dict[str, Any]:
        """A condition of an Integration, once it has this reason."""

        def reached() -> dict[str, Any] | None:
            found = condition(self.get(namespace, "integration", name), type_)
            return found if found.get("reason") == reason else None

        return until(reached, seconds, lambda: self.describe(namespace, name))

    def describe(self, namespace: str, integration: str) -> str:
        """What a person would look at when a test fails."""
        objects = [self.get(namespace, "integration", integration), *self.runs(namespace, integration)]
        parts = [json.dumps(each.get("status", {}), indent=1) for each in objects]
        selector = f"--selector=towline.dev/integration={integration}"
        parts.append(self.target.kubectl("-n", namespace, "get", "pods", selector, check=False))
        parts.append(self.target.kubectl("-n", namespace, "logs", selector, "--tail=20", check=False))
        parts.append(self.target.kubectl("-n", SYSTEM_NAMESPACE, "logs", f"deploy/{RELEASE}", "--tail=20", check=False))
        return "\n".join(parts)

    def metrics(self) -> str:
        """The operator's /metrics, through its Service."""
        path = f"/api/v1/namespaces/{SYSTEM_NAMESPACE}/services/{RELEASE}-metrics:metrics/proxy/metrics"
        return self.target.kubectl("get", "--raw", path)

    def operator_pod(self) -> dict[str, Any]:
        """The operator's pod."""
        selector = "--selector=app.kubernetes.io/component=operator"
        (found,) = [
            each
            for each in self.target.objects("-n", SYSTEM_NAMESPACE, "pods", selector)
            if "deletionTimestamp" not in each["metadata"]
        ]
        return found

    def reader(self, namespace: str, *, url_secret: str = "") -> Reader:
        """A pod that looks at the rows of a namespace: on its volume, or in the database of `url_secret`."""
        return Reader.start(self, namespace, url_secret)


@dataclass(frozen=True)
class Reader:
    """A pod with Towline's image beside a destination."""

    towline: Towline
    namespace: str
    name: str

    @classmethod
    def start(cls, towline: Towline, namespace: str, url_secret: str) -> Reader:
        name = f"reader-{url_secret or 'volume'}"
        tight = {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}
        container: dict[str, Any] = {
            "name": "reader",
            "image": towline.image,
            "imagePullPolicy": "IfNotPresent",
            "command": ["sleep", "infinity"],
            "securityContext": tight,
            "env": [{"name": "TOWLINE_TO", "value": "/var/lib/towline/towline.db"}],
            "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],
        }
        volumes: list[dict[str, Any]] = [{"name": "tmp", "emptyDir": {}}]
        if url_secret:
            reference = {"secretKeyRef": {"name": url_secret, "key": "url"}}
            container["env"] = [{"name": "TOWLINE_TO", "valueFrom": reference}]
        else:
            container["volumeMounts"].append({"name": "data", "mountPath": "/var/lib/towline"})
            volumes.append({"name": "data", "persistentVolumeClaim": {"claimName": "towline-data"}})
        spec = {
            "automountServiceAccountToken": False,
            "terminationGracePeriodSeconds": 0,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": 65532,
                "runAsGroup": 65532,
                "fsGroup": 65532,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [container],
            "volumes": volumes,
        }
        metadata = {"name": name, "namespace": namespace}
        towline.target.apply({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})
        towline.target.kubectl("-n", namespace, "wait", "--for=condition=Ready", f"pod/{name}", "--timeout=60s")
        return cls(towline, namespace, name)

    def exec(self, *command: str, stdin: str | None = None) -> str:
        """The output of a command in the pod."""
        interactive = ["-i"] if stdin is not None else []
        arguments = ["-n", self.namespace, "exec", *interactive, self.name, "--", *command]
        return self.towline.target.kubectl(*arguments, stdin=stdin)

    def json(self, *command: str) -> Any:
        """The output of a command in the pod, as a value. Of a long one the stream of `kubectl exec` may lose the end
        when the command has ended; what is no whole document is asked for again."""
        for _ in range(4):
            with suppress(json.JSONDecodeError):
                return json.loads(self.exec(*command))
        return json.loads(self.exec(*command))

    def rows(self, entity: str, integration: str = "", *columns: str) -> list[dict[str, Any]]:
        """The live rows of an entity, as `towline data` tells them."""
        arguments = ["towline", "data", entity, "--limit=0", "-o", "json"]
        if integration:
            arguments.append(f"--where=integration={self.namespace}/{integration}")
        if columns:
            arguments.append(f"--columns={','.join(columns)}")
        found: list[dict[str, Any]] = self.json(*arguments)
        return found

    def counts(self, integration: str) -> dict[str, tuple[int, int]]:
        """Live and deleted rows of each entity."""
        found = self.json("towline", "data", "-o", "json")
        name = f"{self.namespace}/{integration}"
        return {each["entity"]: (each["rows"], each["deleted"]) for each in found if each["integration"] == name}


def condition(obj: dict[str, Any], type_: str) -> dict[str, Any]:
    """A condition of an object; empty when it has none of that type."""
    found: list[dict[str, Any]] = obj.get("status", {}).get("conditions", [])
    return next((each for each in found if each["type"] == type_), {})


def until(probe: Callable[[], T | None], seconds: float, explain: Callable[[], str] = str, pause: float = 0.3) -> T:
    """What `probe` gives once it gives something; fails with `explain` when the time is over."""
    deadline = time.monotonic() + seconds
    while True:
        found = probe()
        if found:
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"it did not happen within {seconds:.0f} s\n{explain()}")
        time.sleep(pause)


def processes_of(pod_uid: str) -> Iterator[tuple[int, str]]:
    """Process ids on this machine, and command lines, of a pod's containers, found by their cgroup."""
    marks = (pod_uid, pod_uid.replace("-", "_"))
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if any(mark in (folder / "cgroup").read_text() for mark in marks):
                yield int(folder.name), (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode().strip()
        except OSError:
            continue


def kill_process(pod_uid: str, newest: bool = False) -> bool:
    """SIGKILL to Towline's processes in a pod, as the kernel does; whether there were any.

    `newest`: only to the process that was started last, when there is more than one.
    """
    found = sorted(pid for pid, command in processes_of(pod_uid) if "towline" in command)
    if newest:
        found = found[-1:] if len(found) > 1 else []
    for pid in found:
        os.kill(pid, signal.SIGKILL)
    return bool(found)
