"""The table of cases: objects that pass and objects that are refused, with the words that the user reads."""

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml


def load_cases() -> list[Any]:
    found = []
    for path in sorted((Path(__file__).parent / "cases").glob("*.yaml")):
        table = yaml.safe_load(path.read_text(encoding="utf-8"))
        for case in table["cases"]:
            identity = f"{path.stem}: {case['case']}"
            found.append(pytest.param(build(table["base"], case), case.get("refused", []), id=identity))
    return found


def build(base: dict[str, Any], case: dict[str, Any]) -> dict[str, Any]:
    """The object of a case: the base without some fields, with others set. `streams: 3` gives it three streams."""
    body = copy.deepcopy(base)
    for path in case.get("without", []):
        *parents, last = path.split(".")
        inner(body, parents).pop(last, None)
    for path, value in case.get("set", {}).items():
        *parents, last = path.split(".")
        inner(body, parents)[last] = copy.deepcopy(value)
    if "streams" in case:
        body["spec"]["streams"] = [{"name": f"s{number}"} for number in range(case["streams"])]
    return body


def inner(body: dict[str, Any], path: list[str]) -> dict[str, Any]:
    for part in path:
        body = body[part]
    return body
