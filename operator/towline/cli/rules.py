"""The rules between fields, which the API server checks in CEL, in Python for when there is no API server.

Each is found by its type and its message, so the user reads the same sentence either way. Not here are rules that
compare with the old object (`oldSelf`), which need the cluster, and those of the cron expression and of names, which
`towline.core.schedule` and `misnamed` know better.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

from towline.api.base import Model, seconds
from towline.cli.manifests import Document

Predicate = Callable[[Any], bool]
LONGEST_NAME = {"Integration": 40, "SyncJob": 58, "Connector": 253}
_NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")


def _count(*values: object) -> int:
    """How many are there."""
    return sum(value is not None for value in values)


PREDICATES: dict[str, dict[str, Predicate]] = {
    "Auth": {
        "kind Header needs name and value": lambda a: a.kind != "Header" or bool(a.name and a.value),
        "kind Query needs name and value": lambda a: a.kind != "Query" or bool(a.name and a.value),
        "kind Basic needs username and password": lambda a: a.kind != "Basic" or bool(a.username and a.password),
        "kind Bearer needs value": lambda a: a.kind != "Bearer" or bool(a.value),
        "kind OAuth2ClientCredentials needs tokenURL": lambda a: (
            a.kind != "OAuth2ClientCredentials" or bool(a.token_url)
        ),
    },
    "ErrorWhen": {
        "an empty when would match every answer: give at least one of status, path, phase, header and body": lambda w: (
            any(part is not None for part in (w.status, w.path, w.phase, w.header, w.body))
        ),
    },
    "Sync": {"mode Incremental needs cursor": lambda s: s.mode != "Incremental" or s.cursor is not None},
    "Stream": {
        "give one of request, export and search": lambda s: _count(s.request, s.export, s.search) <= 1,
    },
    "Paginate": {
        "kind NextURL needs from: where the answer names the next page": lambda p: (
            p.kind != "NextURL" or p.from_ is not None
        ),
        "kind Cursor needs from: where the answer names the next cursor": lambda p: (
            p.kind != "Cursor" or p.from_ is not None
        ),
    },
    "Image": {"give a tag or, better, a digest": lambda i: bool(i.tag or i.digest)},
    "AllowedNamespaces": {
        "from: Selector needs a selector, and only it": lambda a: (a.from_ == "Selector") == (a.selector is not None),
    },
    "ConnectorSpec": {
        "capability Webhook needs at least one entry in webhooks, and webhooks need the capability": lambda c: (
            ("Webhook" in c.capabilities) == bool(c.webhooks)
        ),
        "capability Pull needs at least one stream": lambda c: "Pull" not in c.capabilities or bool(c.streams),
        "capability Push needs at least one action": lambda c: "Push" not in c.capabilities or bool(c.actions),
        "describe the API in http, or the directory in ldap, or name Python code in entrypoint: exactly one": (
            lambda c: _count(c.http, c.ldap, c.entrypoint) == 1
        ),
        "an image of its own is only used with entrypoint": lambda c: c.image is None or c.entrypoint is not None,
        "with http every stream needs request or export": lambda c: (
            c.http is None or all(_count(s.request, s.export) for s in c.streams or [])
        ),
        "with ldap every stream needs search": lambda c: c.ldap is None or all(s.search for s in c.streams or []),
    },
    "Credentials": {
        "name a Secret in secretRef when source is Secret, and only then": lambda c: (
            (c.source == "Secret") == (c.secret_ref is not None)
        ),
        "keys needs secretRef": lambda c: c.keys is None or c.secret_ref is not None,
    },
    "Schedule": {
        "set exactly one of cron and interval": lambda s: _count(s.cron, s.interval) == 1,
        "timeZone only has a meaning with cron": lambda s: s.time_zone is None or s.cron is not None,
        "put the time zone in schedule.timeZone, not into the cron expression": lambda s: "TZ=" not in (s.cron or ""),
        "interval must be at least 1m": lambda s: s.interval is None or seconds(s.interval) >= 60,
        "jitter must be shorter than interval": lambda s: (
            s.jitter is None or s.interval is None or seconds(s.jitter) < seconds(s.interval)
        ),
    },
    "IntegrationStream": {
        "fullEvery only has a meaning with mode Incremental": lambda s: (
            s.full_every is None or s.mode in (None, "Incremental")
        ),
    },
    "IntegrationSpec": {
        "every stream of the webhook must also be named in spec.streams"
        " (or leave spec.streams out to take all streams)": lambda i: (
            not (i.webhook and i.webhook.streams and i.streams)
            or set(i.webhook.streams) <= {stream.name for stream in i.streams}
        ),
    },
    "SyncJobSpec": {
        "trigger Schedule needs scheduledTime (to sync by hand, leave trigger out: it is Manual)": lambda s: (
            s.trigger != "Schedule" or s.scheduled_time is not None
        ),
    },
}


def broken(value: object, path: str = "") -> Iterator[str]:
    """A sentence, with the path of the field before it, for each rule that an object breaks."""
    if isinstance(value, Model):
        known = PREDICATES.get(type(value).__name__, {})
        for rule in type(value).rules:
            holds = known.get(rule.message or "")
            if holds is not None and not holds(value):
                yield f"{path.lstrip('.')}{rule.field_path or ''}: {rule.message}"
        for name, info in type(value).model_fields.items():
            yield from broken(getattr(value, name), f"{path}.{info.alias or name}")
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from broken(item, f"{path}[{index}]")


def misnamed(document: Document) -> list[str]:
    """What is wrong with the object's name, if anything."""
    name, longest = document.name, LONGEST_NAME[document.kind]
    if not name:
        generated = document.kind == "SyncJob" and document.metadata.get("generateName")
        return [] if generated else ["metadata.name is missing"]
    if not _NAME.fullmatch(name):
        return [
            f'metadata.name: "{name}" may only hold lower-case letters, digits and dashes, and has to begin and end'
            " with a letter or digit"
        ]
    if len(name) > longest:
        return [f"metadata.name has {len(name)} characters, at most {longest} are allowed"]
    if document.kind == "Integration" and "." in name:
        return ["metadata.name must not contain dots, because the names of its Jobs are made from it"]
    return []
