"""Waits for Integrations as a person would: what is waited for, for how long, and what the status says."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from hack.demo.steps import DemoError, say
from hack.demo.target import Target

SUCCESS = {"Completed", "PartiallyCompleted"}
_HEARTBEAT = 15.0
# The operator looks at a corrected Secret again within 15 s: only what fails for longer has failed.
_PATIENCE = 30.0
_LOG_LINES = 30


@dataclass(frozen=True)
class Progress:
    """How one Integration stands: `done` and `failed` say whether waiting for it is over."""

    text: str
    done: bool = False
    failed: bool = False


def wait_for_syncs(target: Target, namespace: str, requests: dict[str, str], seconds: float) -> None:
    """Wait until each Integration of `requests` has synced since its request token (empty: has synced at all).

    DemoError with conditions, events and logs when one fails and stays so, or when the time is over.
    """
    begun = time.monotonic()
    shown: dict[str, tuple[str, float]] = {}
    spoken = begun
    while True:
        integrations = {each["metadata"]["name"]: each for each in target.objects("-n", namespace, "integrations")}
        runs = target.objects("-n", namespace, "syncjobs")
        states = {name: progress(integrations.get(name), runs, token) for name, token in requests.items()}
        now = time.monotonic()
        for name, state in states.items():
            if name not in shown or shown[name][0] != state.text:
                shown[name] = (state.text, now)
                spoken = now
                sign = "✔" if state.done else "✗" if state.failed else "◎"
                say(f"  {sign} {name}: {state.text}  ({now - begun:.0f} s)")
        failed = [name for name, state in states.items() if state.failed and now - shown[name][1] > _PATIENCE]
        if failed:
            raise DemoError(f"{' and '.join(failed)} did not sync.\n" + diagnosis(target, namespace, failed))
        waiting = [name for name, state in states.items() if not state.done]
        if not waiting:
            return
        if now - begun > seconds:
            raise DemoError(
                f"{' and '.join(waiting)} did not finish within {seconds:.0f} s.\n"
                + diagnosis(target, namespace, waiting)
            )
        if now - spoken > _HEARTBEAT:
            spoken = now
            say(f"    still waiting for {', '.join(waiting)}  ({now - begun:.0f} s)")
        time.sleep(0.5)


def progress(integration: dict[str, Any] | None, runs: list[dict[str, Any]], token: str) -> Progress:
    """How an Integration stands, from its status and the SyncJobs of its namespace."""
    if integration is None:
        return Progress("is not there yet")
    name, status = integration["metadata"]["name"], integration.get("status", {})
    conditions = {each["type"]: each for each in status.get("conditions", [])}
    stalled = conditions.get("Stalled", {})
    if stalled.get("status") == "True":
        return Progress(f"{stalled['reason']}: {stalled['message']}", failed=True)
    if token and status.get("lastHandledRequestedAt") != token:
        return Progress("waiting for the operator to take the request")
    own = [each for each in runs if each["spec"]["integrationRef"]["name"] == name]
    own.sort(key=lambda each: str(each["metadata"]["creationTimestamp"]))
    if not own:
        ready = conditions.get("Ready", {})
        return Progress(f"{ready.get('reason', 'Pending')}: {ready.get('message', 'waiting for the operator')}")
    newest = own[-1]
    found = newest.get("status", {}).get("conditions", [])
    result: dict[str, Any] = next((each for each in found if each["type"] == "Succeeded"), {})
    text = f"{result.get('reason', 'Pending')}: {result.get('message') or 'waiting for the operator'}"
    # The Integration mirrors its last sync a moment later: waiting for that shows the truth at the end.
    mirrored = status.get("lastSync", {}).get("name") == newest["metadata"]["name"]
    if result.get("status") == "False":
        return Progress(text, failed=True)
    return Progress(text, done=result.get("reason") in SUCCESS and mirrored)


def diagnosis(target: Target, namespace: str, integrations: list[str]) -> str:
    """What a person looks at first when a sync fails: conditions, events, the end of the logs."""
    parts = []
    for name in integrations:
        parts.append(f"\nConditions of Integration {name} and of its SyncJobs:")
        own = [
            each
            for each in target.objects("-n", namespace, "integrations,syncjobs")
            if name in (each["metadata"]["name"], each["spec"].get("integrationRef", {}).get("name"))
        ]
        for each in own:
            parts += [
                f"  {each['kind']} {each['metadata']['name']}: {condition['type']}={condition['status']} "
                f"{condition['reason']}: {condition['message']}"
                for condition in each.get("status", {}).get("conditions", [])
            ]
        selector = f"--selector=towline.dev/integration={name}"
        arguments = ["-n", namespace, "logs", selector, "--prefix", f"--tail={_LOG_LINES}"]
        if logs := target.kubectl(*arguments, check=False).strip():
            parts.append(f"\nLogs of its pods:\n{logs}")
    events = target.kubectl("-n", namespace, "get", "events", "--sort-by=.lastTimestamp", check=False)
    parts.append("\nEvents of the namespace, the newest last:\n" + "\n".join(events.splitlines()[-20:]))
    return "\n".join(parts)
