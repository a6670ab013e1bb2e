"""Errors of manifests are sentences: where, what, how to write it."""

from typing import Any

import pytest
from pydantic import BaseModel, ConfigDict, ValidationError

from towline.api.connector import Connector, ConnectorSpec
from towline.api.explain import explain, path_text, shown
from towline.api.integration import Integration


def sentences(model: type[BaseModel], document: Any, **options: str) -> list[str]:
    with pytest.raises(ValidationError) as raised:
        model.model_validate(document, strict=True)
    return explain(raised.value, **options)


def integration(**spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": "x"}, "spec": {"connectorRef": {"name": "a"}, **spec}}


@pytest.mark.parametrize(
    ("spec", "sentence"),
    [
        ({"shedule": {}}, 'spec.shedule: there is no such field; did you mean "schedule"?'),
        ({"connectorref": {}}, 'spec.connectorref: there is no such field; did you mean "connectorRef"?'),
        (
            {"retry": {"zzz": 1}},
            "spec.retry.zzz: there is no such field; known are maxAttempts",
        ),
        ({"connectorRef": {}}, "spec.connectorRef.name: it is missing: add it"),
        ({"connectorRef": {"name": ""}}, "spec.connectorRef.name: it must not be empty"),
        ({"suspend": "yes"}, 'spec.suspend: it must be true or false, and is the text "yes":'
         " write true or false without quotes"),
        ({"retry": {"maxAttempts": "3"}}, 'spec.retry.maxAttempts: it must be a whole number, and is the text "3":'
         " write it without quotes"),
        ({"retry": {"maxAttempts": 11}}, "spec.retry.maxAttempts: it must be at most 10, and is 11"),
        ({"retry": []}, "spec.retry: it must be an object, and is a list: its fields are maxAttempts"),
        ({"streams": []}, "spec.streams: it needs at least 1 item"),
        ({"streams": {"name": "a"}}, "spec.streams: it must be a list, and is an object"),
        ({"streams": ["a"]}, 'spec.streams[0]: it must be an object, and is the text "a":'
         " its fields are name, mode, fullEvery, lookback, filter, mapping and guard"),
        (
            {"streams": [{"name": "a", "mode": "full"}]},
            'spec.streams[0].mode: "full" is not allowed: write Full',
        ),
        ({"concurrencyPolicy": "Allow"}, 'spec.concurrencyPolicy: "Allow" is not allowed: write Forbid or Replace'),
        ({"schedule": {"interval": 30}}, 'spec.schedule.interval: "30" is not a duration:'
         " write for example 30m, 6h or 7d"),
        ({"schedule": {"cron": False}}, "spec.schedule.cron: it must be a text, and is false: put it in quotes"
         " (YAML reads a bare yes, no, on or off as true or false)"),
        ({"job": {"labels": {"a.b/c": 1}}}, 'spec.job.labels["a.b/c"]: it must be a text, and is the number 1:'
         " put it in quotes"),
        ({"job": {"resources": {"limits": {"cpu": 1.5}}}}, "spec.job.resources.limits.cpu: it must be a text or"
         " a whole number, and is the number 1.5: put it in quotes"),
        ({"job": {"resources": {"limits": {"cpu": "lots"}}}}, 'spec.job.resources.limits.cpu: "lots" is not a quantity:'
         " write for example 500m, 2 or 256Mi"),
    ],
)  # fmt: skip
def test_problem_of_an_integration_reads_as_a_sentence(spec: dict[str, Any], sentence: str) -> None:
    assert sentences(Integration, integration(**spec)) == [sentence]


def test_a_value_of_two_types_is_one_problem() -> None:
    connector = {"spec": {"health": {"request": {"path": "/", "query": {"deep": True}}}}}

    found = [line for line in sentences(Connector, connector) if "query" in line]

    assert found == [
        "spec.health.request.query.deep: it must be a text or a whole number, and is true: put it in quotes"
        " (YAML reads a bare yes, no, on or off as true or false)"
    ]


def test_sentence_tells_the_source_and_where_a_part_belongs() -> None:
    found = sentences(ConnectorSpec, {"title": "a"}, source="connector.yaml", at="spec")

    assert "connector.yaml: spec.version: it is missing: add it" in found


def test_list_that_is_one_value_shows_how_to_write_it() -> None:
    rule = {"when": {"status": 429}, "class": "RateLimited"}
    found = sentences(Connector, {"spec": {"http": {"baseURL": "https://a", "errors": [rule]}}})

    assert "spec.http.errors[0].when.status: it must be a list, and is the number 429: write [429]" in found


def test_value_that_is_no_object_at_all() -> None:
    assert sentences(Integration, None) == ["it must be an object, and is empty: give it a value, or remove the line"]


def test_model_that_is_no_kind_is_explained_without_suggestions() -> None:
    class Other(BaseModel):
        model_config = ConfigDict(extra="forbid")
        name: str

    assert sentences(Other, {"nam": "x"}) == [
        "name: it is missing: add it",
        "nam: there is no such field: remove it",
    ]


def test_long_and_strange_values_are_shown_short_and_on_one_line() -> None:
    assert shown("a\nb\tc\x1b[31m") == "a\\nb\\tc\\x1b[31m"
    assert len(shown("x" * 500)) == 60


def test_keys_that_are_no_names_stand_in_brackets() -> None:
    assert path_text(["spec", "streams", 0, "name"]) == "spec.streams[0].name"
    assert path_text(["labels", "app.kubernetes.io/name"]) == 'labels["app.kubernetes.io/name"]'
