"""What the check without a cluster says is what the API server says, for objects that nobody thought of."""

import copy
import random
from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest
from tests.api.client import Api, RefusedError
from tests.api.tables import load_cases

from towline.api.check import check
from towline.api.kinds import KINDS
from towline.api.schema import FREE, Schema, structural

pytestmark = pytest.mark.api

MUTATIONS = 400
VALUES: list[Any] = [
    "", "a", "1h", 0, 1, -5, 3.5, True, [], {}, ["a"], {"a": "b"}, "x" * 3000, 10**12, "=id", "Full", "Incremental",
    "Secret", "@daily", [1], [{}],
]  # fmt: skip


def places(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """The path of everything in `value`."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in inner:
        yield (*path, key)
        yield from places(child, (*path, key))


@cache
def schemas(kind: str) -> tuple[Schema, Schema]:
    """The spec of a kind as the models know it, and as the API server does."""
    model = next(each.model for each in KINDS if each.name == kind)
    return structural(model)["properties"]["spec"], structural(model, whole=False)["properties"]["spec"]


def known(kind: str, path: tuple[str | int, ...]) -> bool:
    """Whether the API server looks at `path` of a spec: what is marked OPAQUE, only the operator does."""
    inside, served = schemas(kind)
    for part in path:
        name = "items" if isinstance(part, int) else part
        inside, served = (
            node.get("properties", {}).get(name) or node.get(name if name == "items" else "additionalProperties", {})
            for node in (inside, served)
        )
        if served.get(FREE) and not inside.get(FREE):
            return False
    return True


def change(kind: str, spec: dict[str, Any], chance: random.Random) -> None:
    """Take one thing away, or put something else in its place."""
    # A structural schema cannot say "true, false or a text": the operator refuses what is neither.
    found = [path for path in places(spec) if path[-1] != "startTLS" and known(kind, path)]
    if not found:
        return
    path = chance.choice(found)
    owner: Any = spec
    for part in path[:-1]:
        owner = owner[part]
    if chance.random() < 0.35:
        del owner[path[-1]]
    else:
        owner[path[-1]] = copy.deepcopy(chance.choice(VALUES))


def test_offline_check_agrees_with_the_api_server(api: Api) -> None:
    chance = random.Random(20261121)
    good = [case.values[0] for case in load_cases() if not case.values[1]]
    disagree = []
    for _ in range(MUTATIONS):
        body = copy.deepcopy(chance.choice(good))
        for _ in range(chance.choice([1, 1, 2])):
            change(body["kind"], body["spec"], chance)
        offline = check(body)
        try:
            api.create(body, "default", dry_run=True)
            server = ""
        except RefusedError as error:
            server = str(error)
        if bool(offline) != bool(server):
            disagree.append((body, offline, server))
    assert disagree == []
