"""Faults of connector runs: killed between any two writes; credentials that change in the middle."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.api.acme import SELDOM
from tests.api.operator_process import until
from tests.chaos.kubelet import put
from tests.chaos.outcome import Outcome
from tests.chaos.promises import jobs_once
from tests.chaos.stage import Stage
from tests.chaos.vendor import TOKEN, Vendor, serving
from tests.connectors.harness import Integration, served

from towline import contract
from towline.api.conditions import Reason
from towline.contract import Plan, RunResult
from towline_connectors.catalogue.cmdb.servicenow import simulator as servicenow
from towline_connectors.catalogue.iam.okta import simulator as okta
from towline_connectors.catalogue.vulnerability.tenable_io import simulator as tenable
from towline_connectors.entities import REGISTRY

ROOT = Path(__file__).parents[2]
# Of the columns that Towline adds, those that tell when a row was written instead of what it is.
OF_WRITING = {"first_seen_time", "last_seen_time", "modified_time", "deleted_time", "run_id", "scan_id"}
Rows = dict[str, list[tuple[Any, ...]]]


@dataclass(frozen=True)
class System:
    """A connector and what it reads from: exports, tables that are paged, and pieces of parents."""

    connector: str
    serve: Callable[[], Any]
    config: Callable[[str], dict[str, Any]]
    secrets: dict[str, str]
    streams: list[str] | None = None


SYSTEMS = (
    System(
        "tenable-io",
        lambda: tenable.application(tenable.Options(assets=40, findings=4, queued_polls=0, chunks_per_poll=100)),
        lambda url: {"base_url": url, "severities": ["info", "low", "medium", "high", "critical"]},
        {"access_key": "simulator", "secret_key": "simulator"},
        ["assets", "deleted-assets", "vulnerabilities"],
    ),
    System(
        "servicenow",
        lambda: servicenow.application(
            servicenow.Options(users=300, groups=20, servers=30, computers=40, incidents=400)
        ),
        lambda url: {"host": url.removeprefix("http://"), "scheme": "http"},
        {"username": "simulator", "password": "simulator"},
        ["users", "groups", "memberships", "servers", "computers", "incidents"],
    ),
    System(
        "okta",
        lambda: okta.application(okta.Options(**okta.SMALL)),
        lambda url: {"base_url": url},
        {"api_token": "simulator"},
    ),
)


@dataclass
class Pod:
    """A connector's process as a pod has it, with a database of its own."""

    folder: Path
    secrets: dict[str, str]
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def database(self) -> Path:
        return self.folder / "towline.db"

    def run(self, plan: Plan, attempt: int, **environment: str) -> int:
        """The exit code."""
        root = self.folder / f"pod-{attempt}"
        identity = plan.sync.model_copy(update={"attempt": attempt})
        target = plan.destination.model_copy(update={"path": str(self.database)})
        put(
            root,
            contract.PLAN_PATH,
            plan.model_copy(update={"sync": identity, "destination": target}).model_dump_json(),
        )
        put(root, contract.TERMINATION_LOG_PATH, "")
        for key, value in self.secrets.items():
            put(root, f"{contract.CREDENTIALS_PATH}/{key}", value)
        variables = {**os.environ, "TOWLINE_POD_ROOT": str(root), contract.POD_UID_ENV: f"pod-{attempt}", **environment}
        with (root / "log").open("ab") as log:
            return subprocess.run(
                [sys.executable, "-m", "tests.chaos.dying"],
                cwd=ROOT,
                env=variables,
                stdout=log,
                stderr=log,
                start_new_session=True,
                check=False,
                timeout=300,
            ).returncode

    def result(self, attempt: int) -> RunResult:
        return RunResult.model_validate_json(
            (self.folder / f"pod-{attempt}" / contract.TERMINATION_LOG_PATH.lstrip("/")).read_text()
        )

    def rows(self) -> Rows:
        """All rows of all entities with every column that says what they are, `raw` included."""
        found: Rows = {}
        with contextlib.closing(sqlite3.connect(self.database)) as base:
            for entity in REGISTRY.values():
                known = [name for (name,) in base.execute("SELECT name FROM pragma_table_info(?)", (entity.table,))]
                wanted = [f'"{name}"' for name in known if name not in OF_WRITING]
                sql = f"SELECT {', '.join(wanted)}, deleted_time IS NULL FROM {entity.table} ORDER BY source_key"
                if rows := base.execute(sql).fetchall():
                    found[entity.name] = rows
        return found


def crashes(stage: Stage, random_: random.Random, size: int) -> Outcome:
    """3: a run that is killed anywhere and tried again leaves the rows of one that was not, byte for byte."""
    found = Outcome(3, "run killed after a write or an answer, then run again")
    for system in SYSTEMS:
        with served(system.serve()) as url:
            _crashes_of(system, url, stage.folder / system.connector, found, random_, size)
    return found


def _crashes_of(system: System, url: str, folder: Path, found: Outcome, random_: random.Random, size: int) -> None:
    integration = Integration(
        system.connector, system.config(url), system.secrets, folder / "none.db", streams=system.streams
    )
    plan = integration.plan()
    reference = Pod(folder / "undisturbed", system.secrets)
    counts = folder / "counts"
    assert reference.run(plan, 1, CHAOS_COUNT=str(counts)) == 0, reference.result(1).message
    wanted = reference.rows()
    points = [f"{kind} {n + 1}" for kind, n in _numbered(counts.read_text().split())]
    chosen = points if size >= 30 else random_.sample(points, min(3 * size, len(points)))
    for point in chosen:
        pod = Pod(folder / point.replace(" ", "-"), system.secrets)
        died = pod.run(plan, 1, CHAOS_DIE=point)
        if died != -signal.SIGKILL:
            found.expect(died == 0, f"{system.connector}, {point}: ended with {died} instead of dying")
            continue  # side by side, a run need not have as many answers as the one that was counted
        found.injected += 1
        if pod.run(plan, 2) != 0:
            found.violations.append(f"{system.connector}, {point}: {pod.result(2).message}")
            continue
        found.expect(pod.result(2).reason is Reason.COMPLETED, f"{system.connector}, {point}: {pod.result(2).reason}")
        rows = pod.rows()
        differing = sorted(name for name in {*rows, *wanted} if rows.get(name) != wanted.get(name))
        found.expect(not differing, f"{system.connector}, {point}: other rows of {', '.join(differing)}")


def rotations(stage: Stage, random_: random.Random, size: int) -> Outcome:
    """10: credentials that change in the middle of a sync end with the new ones, or at rest; no account is locked."""
    found = Outcome(10, "credentials rotated during a sync")
    kinds = ("rotated", "both", "neither")
    names = [f"{kind}-{number}" for kind in kinds for number in range(1 + size // 3)]
    vendor = Vendor(pages=8, held_at=5)
    with serving(vendor):
        stage.kubelet().refreshes = random_.random() < 0.5
        stage.accounts(vendor, names, SELDOM)
        stage.operator("--secret-check=4", "--secret-recheck=2").start()
        until("all syncs are in the middle", lambda: len(vendor.waiting) == len(names), 120)
        random_.shuffle(names)
        for name in names:
            kind = name.partition("-")[0]
            vendor.accepts[name] = {"both": {TOKEN, "token-b"}, "rotated": {"token-b"}}.get(kind, {"token-c"})
            time.sleep(random_.choice([0, 0.3]))
            stage.secret(name, "token-b")
            found.injected += 1
        time.sleep(random_.choice([0, 3]))
        vendor.held_at = 0
        good = [name for name in names if not name.startswith("neither")]
        bad = [name for name in names if name.startswith("neither")]
        until("those that can have synced", lambda: all(_synced(stage, vendor, name) for name in good), 120)
        until("the others rest", lambda: all(_reason(stage, name) == "CredentialsRejected" for name in bad), 60)
        time.sleep(15)  # a storm would show now
        _refusals(found, vendor, names)
        for name in bad:
            rows = [key for key, _ in stage.rows(name)]
            found.expect(set(rows) <= set(vendor.expected()), f"{name}: rows that were never sent")
            stage.secret(name, "token-c")  # the cure
            found.injected += 1
        until("all have synced", lambda: all(_synced(stage, vendor, name) for name in names), 120)
        _refusals(found, vendor, names)
    for name in names:
        wanted = [(key, f"{name}-{int(key[1:])}") for key in vendor.expected()]
        found.expect(stage.rows(name) == wanted, f"{name}: rows are missing or mixed")
    jobs_once(stage, found)
    return found


def _refusals(found: Outcome, vendor: Vendor, names: list[str]) -> None:
    for name in names:
        least, most = (0, 0) if name.startswith("both") else (1, 3)
        refused = vendor.refused.get(name, [])
        found.expect(least <= len(refused) <= most, f"{name}: {len(refused)} refused requests: {', '.join(refused)}")


def _synced(stage: Stage, vendor: Vendor, name: str) -> bool:
    return _reason(stage, name) == "Synced" and len(stage.rows(name)) == len(vendor.expected())


def _reason(stage: Stage, name: str) -> str:
    return str(stage.cluster.condition("integrations", name).get("reason"))


def _numbered(kinds: list[str]) -> list[tuple[str, int]]:
    seen: dict[str, int] = {}
    found = []
    for kind in kinds:
        found.append((kind, seen.get(kind, 0)))
        seen[kind] = seen.get(kind, 0) + 1
    return found
