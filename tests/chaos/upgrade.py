"""An operator and runs of an earlier version, the ones of this checkout, and the earlier ones again, with live syncs.

The earlier version is a commit of this repository: there, its operator and its connectors run as they were.
"""

from __future__ import annotations

import io
import random
import subprocess
import tarfile
import time
from pathlib import Path

from tests.api.operator_process import until
from tests.chaos.kubelet import RUN
from tests.chaos.outcome import Outcome, SkippedError
from tests.chaos.promises import moment, planned, ticks
from tests.chaos.stage import Stage, Victim
from tests.chaos.vendor import Vendor, serving
from tests.cluster.kubectl import kubectl

ROOT = Path(__file__).parents[2]
BEFORE = "86f4109"
"""The commit of the earlier version: the first whole set of operator, connectors and definitions. After a release,
its tag."""
OLD_IMAGE = "towline.example/run:before"


def upgrades(stage: Stage, random_: random.Random, size: int) -> Outcome:
    """18: an upgrade and the way back lose no tick, end no run and leave the rows of an undisturbed sync."""
    found = Outcome(18, "upgraded and rolled back with live syncs")
    old = _unpack(stage.folder)
    path = f"{old / 'operator'}:{old / 'connectors'}"
    live = [f"live-{number}" for number in range(200 if size >= 30 else 3 * size)]
    timed = [f"timed-{number}" for number in range(3)]
    vendor = Vendor(pages=6)
    try:
        with serving(vendor):
            _define(stage, old / "crds")
            stage.kubelet(code={OLD_IMAGE: (path, RUN)})
            stage.accounts(vendor, live)
            stage.accounts(vendor, timed, 'schedule: {cron: "* * * * *", immediate: false}')
            operator = _operator(stage, path)
            first = planned(stage, timed)
            asked = 0
            for crds, other in ((ROOT / "crds", ""), (old / "crds", path)):
                asked = _ask(stage, vendor, live, asked)
                operator.stop()
                _define(stage, crds)
                operator = _operator(stage, other)
                found.injected += len(live)
                time.sleep(random_.uniform(1, 3))  # some end under the new one's eyes, some later
                vendor.held_at = 0
                _ended(stage, live, asked)
                _valid(found, stage, [*live, *timed])
            asked = _ask(stage, vendor, live, asked, hold=False)  # and all goes on as before
            _ended(stage, live, asked)
            until("a tick has come under each", lambda: _ticks_passed(stage, timed, first) >= 2, 180)
            stage.settled(120)
            _compare(found, stage, vendor, live, asked)
            ticks(stage, found, timed, first, passed=2)
    finally:
        _define(stage, ROOT / "crds")
    return found


def _unpack(folder: Path) -> Path:
    packed = subprocess.run(
        ["git", "archive", BEFORE, "operator", "connectors", "crds"], cwd=ROOT, capture_output=True, check=False
    )
    if packed.returncode:
        raise SkippedError(f"the earlier version is commit {BEFORE}, which this checkout does not have")
    with tarfile.open(fileobj=io.BytesIO(packed.stdout)) as archive:
        archive.extractall(folder / "before", filter="data")
    return folder / "before"


def _define(stage: Stage, crds: Path) -> None:
    kubectl(stage.kubeconfig, "apply", "--server-side", "--force-conflicts", "-f", str(crds))
    time.sleep(1)  # until every part of the API server serves them


def _operator(stage: Stage, path: str) -> Victim:
    """The earlier version's operator, or this one's."""
    made = stage.operator()
    if path:
        made.path, made.image, made.clock = path, OLD_IMAGE, None
    made.start()
    return made


def _ask(stage: Stage, vendor: Vendor, live: list[str], asked: int, hold: bool = True) -> int:
    """A sync of each, in the middle of its pages."""
    vendor.held_at = 4 if hold else 0
    for name in live:
        stage.ask(name, f"round-{asked}")
    if hold:
        until("syncs are in the middle", lambda: all(vendor.waiting[name] for name in live), 300)
    return asked + 1


def _ended(stage: Stage, live: list[str], asked: int) -> None:
    def all_ended() -> bool:
        syncs = [one for one in stage.listed("syncjobs") if one["spec"]["integrationRef"]["name"] in live]
        return len(syncs) == asked * len(live) and all("completionTime" in (one.get("status") or {}) for one in syncs)

    until("the syncs have ended", all_ended, 300)


def _valid(found: Outcome, stage: Stage, names: list[str]) -> None:
    """What users made is as it was, and ready."""

    def settled() -> bool:
        return all(_ready(one) for one in stage.listed("integrations"))

    try:
        until("all are ready", settled, 30)
    except AssertionError:
        broken = [one["metadata"]["name"] for one in stage.listed("integrations") if not _ready(one)]
        found.violations.append(f"not ready any more: {', '.join(broken)}")
    found.expect({one["metadata"]["name"] for one in stage.listed("integrations")} == set(names), "some are gone")
    generations = {one["metadata"]["generation"] for one in stage.listed("integrations")}
    found.expect(generations == {1}, "a spec was written")


def _ready(integration: dict[str, object]) -> bool:
    status = integration.get("status")
    conditions = status.get("conditions") if isinstance(status, dict) else None
    return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions or [])


def _ticks_passed(stage: Stage, timed: list[str], first: dict[str, str]) -> int:
    now = planned(stage, timed)
    return min(round(_minutes(now[name]) - _minutes(first[name])) for name in timed)


def _minutes(text: str) -> float:
    return moment(text).timestamp() / 60


def _compare(found: Outcome, stage: Stage, vendor: Vendor, live: list[str], asked: int) -> None:
    syncs = [one for one in stage.listed("syncjobs") if one["spec"]["integrationRef"]["name"] in live]
    found.expect(len(syncs) == asked * len(live), f"{len(syncs)} SyncJobs for {asked * len(live)} requests")
    for sync in syncs:
        name, status = sync["metadata"]["name"], sync["status"]
        condition = status["conditions"][0]
        found.expect(condition["status"] == "True", f"{name}: {condition['reason']}: {condition['message']}")
        found.expect(status["attempts"] == 1, f"{name}: {status['attempts']} attempts: a run was ended")
    for name in live:
        wanted = [(key, f"{name}-{int(key[1:])}") for key in vendor.expected()]
        found.expect(stage.rows(name) == wanted, f"{name}: {len(stage.rows(name))} rows instead of {len(wanted)}")
