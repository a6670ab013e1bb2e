"""Faults of the operator and of the API server, one function a promise (the numbers are those of
docs/failure-modes.md). Each counts the faults that it brought about and what it found broken."""

from __future__ import annotations

import os
import random
import signal
import time
from datetime import UTC, datetime

from tests.api.operator_process import until
from tests.chaos.outcome import Outcome
from tests.chaos.proxy import Faults
from tests.chaos.stage import Stage, Victim
from tests.chaos.victim import POINTS

EVERY_MINUTE = 'schedule: {cron: "* * * * *", immediate: false}\n  successfulSyncsHistoryLimit: 100'
BY_HAND = "successfulSyncsHistoryLimit: 100"


def ticks(stage: Stage, found: Outcome, names: list[str], first: dict[str, str], passed: int) -> None:
    """Of each Integration: runs and missed ticks together are the ticks that have passed, and no run was made twice."""
    syncs = stage.listed("syncjobs")
    for name in names:
        runs = [one for one in syncs if one["spec"]["integrationRef"]["name"] == name]
        times = [one["spec"].get("scheduledTime") for one in runs]
        found.expect(len(set(times)) == len(times), f"{name}: a tick ran twice")
        status = stage.cluster.get("integrations", name)["status"]
        begun, end = moment(first[name]), moment(status["nextScheduleTime"])
        due = round((end - begun).total_seconds() / 60)
        accounted = len(runs) + int(status.get("missedSchedules") or 0)
        found.expect(accounted == due, f"{name}: {due} ticks have passed, {accounted} are accounted for")
        found.expect(due >= passed, f"{name}: only {due} ticks")
    jobs_once(stage, found)


def jobs_once(stage: Stage, found: Outcome) -> None:
    """No attempt had two pods, and no Job lives without its SyncJob."""
    for (uid, attempt), pods in stage.started().items():
        found.expect(pods == 1, f"attempt {attempt} of {uid} had {pods} pods")
    uids = {one["metadata"]["uid"] for one in stage.listed("syncjobs")}
    for job in stage.cluster.jobs():
        owner = job.metadata.owner_references[0].uid
        found.expect(owner in uids, f"Job {job.metadata.name} is an orphan")


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


def planned(stage: Stage, names: list[str]) -> dict[str, str]:
    """The first tick of each Integration, once it is known."""

    def look() -> dict[str, str]:
        found = {
            one["metadata"]["name"]: one.get("status", {}).get("nextScheduleTime")
            for one in stage.listed("integrations")
        }
        return {name: str(found[name]) for name in names} if all(found.get(name) for name in names) else {}

    return until("every Integration is planned", look)


def advance(stage: Stage, seconds: float) -> None:
    stage.clock.write_text(str(float(stage.clock.read_text()) + seconds))


def rested(stage: Stage, operator: Victim, names: list[str]) -> None:
    """Wait until the operator has looked at all ticks up to its clock, and every run has ended."""

    def look() -> bool:
        now = time.time() + float(stage.clock.read_text())
        due = planned(stage, names).values()
        return all(moment(each).timestamp() > now for each in due)

    until("all ticks are looked at", look)
    stage.settled()


def kills(stage: Stage, random_: random.Random, size: int) -> Outcome:
    """1: no tick lost, none twice, whatever the moment at which the operator dies."""
    found = Outcome(1, "kill -9 at named points")
    names = stage.integrations(4, EVERY_MINUTE)
    operator = stage.operator()
    operator.start()
    first = planned(stage, names)
    operator.kill()
    points = [f"{point}#{random_.randint(1, 3)}" for point in random_.sample(POINTS, min(size, len(POINTS)))]
    for point in points:
        advance(stage, 61)
        victim = stage.operator(kill=point)
        victim.launch()
        try:
            until("it has died", lambda victim=victim: victim.dead, 15)
            found.injected += 1
        except AssertionError:
            victim.kill()  # the point was not met often enough; a kill all the same
            found.injected += 1
    last = stage.operator()
    last.start()
    rested(stage, last, names)
    ticks(stage, found, names, first, passed=len(points))
    return found


def downtime(stage: Stage, random_: random.Random, size: int) -> Outcome:
    """2: of the ticks that were missed the newest runs, the others are counted; a clock set back runs nothing again."""
    found = Outcome(2, "operator down, clock moved")
    names = stage.integrations(4, EVERY_MINUTE)
    operator = stage.operator()
    operator.start()
    first = planned(stage, names)
    for _ in range(size):
        before = len(stage.listed("syncjobs"))
        operator.kill()
        advance(stage, random_.choice([120, 300, 900]))
        operator = stage.operator()
        operator.start()
        rested(stage, operator, names)
        made = len(stage.listed("syncjobs")) - before
        # A minute may turn meanwhile: one more tick of its own for each.
        found.expect(len(names) <= made <= 2 * len(names), f"{made} runs to catch up for {len(names)} Integrations")
        found.injected += 1
    advance(stage, -240)
    before = len(stage.listed("syncjobs"))
    time.sleep(2)
    found.injected += 1
    found.expect(len(stage.listed("syncjobs")) == before, "a clock that went back made runs again")
    advance(stage, 240)
    rested(stage, operator, names)
    ticks(stage, found, names, first, passed=size)
    return found


def ambiguous(stage: Stage, random_: random.Random, size: int) -> Outcome:
    """4: a write that was performed but not answered does no harm."""
    found = Outcome(4, "write performed, answer cut")
    names = stage.integrations(4, EVERY_MINUTE)
    operator = stage.operator()
    operator.start()
    first = planned(stage, names)
    stage.proxy.faults = Faults(ambiguous=0.3)
    for _ in range(size):
        advance(stage, 61)
        rested(stage, operator, names)
    stage.proxy.heal()
    rested(stage, operator, names)
    ticks(stage, found, names, first, passed=size)
    found.injected = stage.proxy.injected["ambiguous"]
    return found


OUTAGES = (
    Faults(refuse=1.0, cut_watches=True),
    Faults(status=503),
    Faults(status=429, status_rate=0.7),
    Faults(status=410, cut_watches=True),
    Faults(truncate=0.5, cut_watches=True),
    Faults(delay=1.0),
    Faults(hang=True, cut_watches=True),
)


def outages(stage: Stage, random_: random.Random, size: int) -> Outcome:
    """5: an API server that is away, slow or talks nonsense ends no process and no run."""
    found = Outcome(5, "API server away")
    (name,) = stage.integrations(1, BY_HAND)
    operator = stage.operator()
    operator.start()
    stage.ask(name, "first")
    stage.settled()
    faults = [fault for _ in range(max(1, size // 5)) for fault in random_.sample(OUTAGES, len(OUTAGES))]
    for number, fault in enumerate(faults):
        stage.hand.paused.set()
        stage.ask(name, f"before-{number}")
        until("a run is under way", lambda: [one for one in stage.listed("syncjobs") if not _ended(one)])
        stage.proxy.faults = fault
        stage.hand.paused.clear()
        time.sleep(3)
        stage.proxy.heal()
        found.injected += 1
        began, requests = time.monotonic(), stage.proxy.requests
        stage.ask(name, f"after-{number}")
        syncs = until("two more runs have ended", lambda number=number: _all_ended(stage, 3 + 2 * number), 75)
        took = time.monotonic() - began
        found.expect(took <= 60, f"{fault}: {took:.0f} s until it went on")
        rate = (stage.proxy.requests - requests) / max(took, 1)
        found.expect(rate <= 150, f"{fault}: {rate:.0f} requests a second after it")
        found.expect(not operator.dead, f"{fault}: the operator ended")
        attempts = [one["status"]["attempts"] for one in syncs]
        found.expect(set(attempts) == {1}, f"{fault}: attempts {attempts}")
    jobs_once(stage, found)
    return found


def _ended(sync: dict[str, object]) -> bool:
    status = sync.get("status")
    return isinstance(status, dict) and "completionTime" in status


def _all_ended(stage: Stage, number: int) -> list[dict[str, object]]:
    found = stage.listed("syncjobs")
    return found if len(found) >= number and all(_ended(one) for one in found) else []


def gaps(stage: Stage, random_: random.Random, size: int) -> Outcome:
    """6: what a watch did not tell, the next full list does; nothing that was deleted stays."""
    found = Outcome(6, "events of watches lost")
    operator = stage.operator()
    operator.start()
    number = 6 * size
    names = stage.integrations(number, BY_HAND)
    until("all are known", lambda: operator.number("towline_integration_info") == number)
    stage.proxy.faults = Faults(swallow=1.0)
    for name in random_.sample(names, number // 2):
        place = ("towline.dev", "v1alpha1", stage.cluster.namespace, "integrations", name)
        stage.cluster.objects.delete_namespaced_custom_object(*place)
    stage.integrations(number, BY_HAND, prefix="late")
    expected = number - number // 2 + number
    until("the list has told", lambda: operator.number("towline_integration_info") == expected, 30)
    found.injected = stage.proxy.injected["swallow"]
    stage.proxy.heal()

    def unseen() -> int:
        return sum(one.get("status", {}).get("observedGeneration") != 1 for one in stage.listed("integrations"))

    try:
        until("all were looked at", lambda: not unseen(), 20)
    except AssertionError:
        found.violations.append(f"{unseen()} Integrations were never looked at")
    found.expect(operator.number("towline_watch_missed_total") > 0, "the repair was not counted")
    return found


def stale(stage: Stage, random_: random.Random, size: int) -> Outcome:
    """7: an operator that starts on an old list makes nothing twice and takes nothing back."""
    found = Outcome(7, "lists of long ago")
    names = stage.integrations(3 * size, BY_HAND)
    operator = stage.operator()
    operator.start()
    past = stage.cluster.objects.list_namespaced_custom_object(
        "towline.dev", "v1alpha1", stage.cluster.namespace, "integrations"
    )["metadata"]["resourceVersion"]
    for name in names:
        stage.ask(name, "once")
    until("all have run", lambda: _all_ended(stage, len(names)))
    operator.kill()
    before = {one["metadata"]["uid"]: one["status"] for one in stage.listed("syncjobs")}
    stage.proxy.faults = Faults(stale_version=past)
    second = stage.operator("--resync=3600")
    second.start()
    time.sleep(3)
    found.injected = stage.proxy.injected["stale"]
    stage.proxy.heal()
    after = {one["metadata"]["uid"]: one["status"] for one in stage.listed("syncjobs")}
    found.expect(set(after) == set(before), "SyncJobs were made or deleted")
    same = all(after[uid].get("completionTime") == before[uid].get("completionTime") for uid in before if uid in after)
    found.expect(same, "a status went back")
    jobs_once(stage, found)
    return found


def takeover(stage: Stage, random_: random.Random, size: int) -> Outcome:
    """8: one leads; whoever loses the Lease writes no more, and another one goes on within 25 s."""
    found = Outcome(8, "leader killed, stopped, cut off")
    names = stage.integrations(2, BY_HAND)
    election = ("--leader-elect", f"--lease-namespace={stage.cluster.namespace}", "--lease-duration=15")
    leader, standby = stage.operator(*election), stage.operator(*election, direct=True)
    leader.start()
    until("one leads", lambda: leader.number("towline_leader") == 1)
    standby.start()
    for number in range(size):
        how = random_.choice(["kill", "sleep", "cut"]) if number else "cut"
        began = time.monotonic()
        if how == "kill":
            leader.kill()
        elif how == "sleep" and leader.process is not None:
            os.kill(leader.process.pid, signal.SIGSTOP)
        else:
            stage.proxy.faults = Faults(refuse=1.0, cut_watches=True)
            if number:  # only the first of them speaks through the proxy
                leader.kill()
        found.injected += 1
        until("the other leads", lambda standby=standby: standby.number("towline_leader") == 1)
        took = time.monotonic() - began
        found.expect(took <= 25, f"{how}: {took:.0f} s until the other led")
        if how == "sleep" and leader.process is not None:
            os.kill(leader.process.pid, signal.SIGCONT)
        until("the old one has ended", lambda leader=leader: leader.dead, 20)
        stage.proxy.heal()
        for name in names:
            stage.ask(name, f"round-{number}")
        syncs = until("runs have ended", lambda number=number: _all_ended(stage, 2 * (number + 1)))
        found.expect(len(syncs) == 2 * (number + 1), f"{len(syncs)} SyncJobs for {2 * (number + 1)} requests")
        leader, standby = standby, stage.operator(*election, direct=True)
        if number + 1 < size:
            standby.start()
    jobs_once(stage, found)
    return found


def restarts(stage: Stage, random_: random.Random, size: int) -> Outcome:
    """13: a restart starts nothing, and at rest nothing is written."""
    found = Outcome(13, "operator restarted")
    names = stage.integrations(5, BY_HAND)
    operator = stage.operator()
    operator.start()
    for name in names:
        stage.ask(name, "once")
    until("all have run", lambda: _all_ended(stage, len(names)))
    until("no Job stays", lambda: not stage.cluster.jobs())
    stage.rest()
    writes = stage.proxy.writes
    for _ in range(size):
        operator.kill()
        operator = stage.operator()
        operator.start()
        time.sleep(random_.uniform(1, 2))
        found.injected += 1
    found.expect(stage.proxy.writes == writes, f"{stage.proxy.writes - writes} writes by restarts")
    found.expect(len(stage.listed("syncjobs")) == len(names), "a restart made SyncJobs")
    return found


def deletions(stage: Stage, random_: random.Random, size: int) -> Outcome:
    """16: whatever is deleted, whenever, leaves neither SyncJob nor Job behind."""
    found = Outcome(16, "deleted in each phase")
    operator = stage.operator()
    operator.start()
    stage.hand.paused.set()
    names = stage.integrations(3 * size, BY_HAND)
    for name in names:
        stage.ask(name, "once")
    until("SyncJobs", lambda: len(stage.listed("syncjobs")) >= size)
    for number, name in enumerate(names):
        if number == len(names) // 2:
            operator.kill()  # the other half is deleted while no operator is there
        time.sleep(random_.uniform(0, 0.2))
        place = ("towline.dev", "v1alpha1", stage.cluster.namespace, "integrations", name)
        stage.cluster.objects.delete_namespaced_custom_object(*place)
        found.injected += 1
    stage.operator().start()
    stage.hand.paused.clear()
    try:
        until("nothing stays", lambda: not stage.listed("syncjobs") and not stage.cluster.jobs(), 60)
    except AssertionError:
        found.violations.append(f"{len(stage.listed('syncjobs'))} SyncJobs, {len(stage.cluster.jobs())} Jobs stay")
    return found
