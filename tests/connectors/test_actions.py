"""What the bundled connectors can push: each request can be built from the input that its action declares."""

from __future__ import annotations

from typing import Any

import pytest
from jsonschema import Draft202012Validator
from tests.connectors.harness import connector

from towline.api.outward import Action
from towline_connectors.catalogue import manifests
from towline_connectors.engine import body, interpolate
from towline_connectors.engine.expressions import compile_expression

ACTIONS = [(name, action.name) for name in manifests() for action in connector(name).spec.actions or [] if action.input]
CONFIG = {
    "host": "acme.example",
    "scheme": "https",
    "base_url": "https://acme.example",
    "hec_url": "https://acme.example:8088",
}


def found(name: str, action: str) -> Action:
    return next(each for each in connector(name).spec.actions or [] if each.name == action)


def sample(schema: dict[str, Any]) -> Any:
    """The least value that a schema takes."""
    if "enum" in schema:
        return schema["enum"][0]
    kind = schema.get("type")
    if kind == "object":
        return {key: sample(schema.get("properties", {}).get(key, {})) for key in schema.get("required", [])}
    if kind == "array":
        return [sample(schema.get("items", {}))]
    if kind == "string":
        return "ab" * 32 if "pattern" in schema else "x"
    return {"integer": 1, "boolean": True}.get(str(kind), "x")


def sent(name: str, action: str, values: dict[str, Any]) -> Any:
    request = found(name, action).request
    made = body.build(request, {"input": values, "config": CONFIG})
    return made.value if made else None


@pytest.mark.parametrize(("name", "action"), ACTIONS)
def test_the_least_input_makes_a_request(name: str, action: str) -> None:
    given = found(name, action)
    schema = dict(given.input or {})
    Draft202012Validator.check_schema(schema)
    values = sample(schema)
    assert list(Draft202012Validator(schema).iter_errors(values)) == []
    scope = {"input": values, "config": CONFIG}
    path = interpolate.fill(given.request.path, scope, None)
    assert "${" not in path
    assert "//" not in path.partition("://")[2]
    body.build(given.request, scope)
    interpolate.evaluate(dict(given.request.query or {}), scope)


def test_fields_that_are_not_given_are_not_sent() -> None:
    values = {"key": "46d4", "work_notes": "Seen again."}
    assert sent("servicenow", "update-incident", values) == {"work_notes": "Seen again."}
    values = {"findings": [{"Id": "a", "ProductArn": "p"}], "status": "SUPPRESSED", "note": "known"}
    assert sent("aws-security-hub", "update-findings", values) == {
        "FindingIdentifiers": [{"Id": "a", "ProductArn": "p"}],
        "Workflow": {"Status": "SUPPRESSED"},
        "Note": {"Text": "known", "UpdatedBy": "towline"},
    }


def test_an_indicator_is_for_all_hosts_unless_groups_are_named() -> None:
    given = {"type": "domain", "value": "bad.example"}
    [all_hosts] = sent("crowdstrike-falcon", "create-indicator", given)["indicators"]
    assert (all_hosts["applied_globally"], all_hosts.get("host_groups")) == (True, None)
    [some] = sent("crowdstrike-falcon", "create-indicator", {**given, "host_groups": ["g1"]})["indicators"]
    assert (some["applied_globally"], some["host_groups"]) == (False, ["g1"])


def test_the_answer_gives_what_is_kept_of_it() -> None:
    def kept(name: str, action: str, answer: Any) -> dict[str, Any]:
        expressions = found(name, action).result or {}
        return {key: compile_expression(expression)(answer) for key, expression in expressions.items()}

    ticket = {"result": {"sys_id": "9d38", "number": "INC0010001"}}
    assert kept("servicenow", "create-incident", ticket) == {"key": "9d38", "display": "INC0010001"}
    change = {"result": {"sys_id": {"value": "c1"}, "number": {"value": "CHG0030001", "display_value": "CHG0030001"}}}
    assert kept("servicenow", "create-change-normal", change) == {"key": "c1", "display": "CHG0030001"}
    launched = {"SIMPLE_RETURN": {"RESPONSE": {"ITEM_LIST": {"ITEM": [
        {"KEY": "ID", "VALUE": "77"}, {"KEY": "REFERENCE", "VALUE": "scan/1.2"},
    ]}}}}  # fmt: skip
    assert kept("qualys-vmdr", "launch-scan", launched) == {"key": "scan/1.2"}
    partly = {
        "ProcessedFindings": [{"Id": "a"}],
        "UnprocessedFindings": [{"FindingIdentifier": {"Id": "b"}, "ErrorCode": "x", "ErrorMessage": "not found"}],
    }
    assert kept("aws-security-hub", "update-findings", partly) == {"done": ["a"], "failed": ["b: not found"]}


@pytest.mark.parametrize(
    ("name", "webhook", "delivery", "expected"),
    [
        (
            "servicenow",
            "record-changed",
            {"table": "incident", "sys_id": "9d38", "sys_updated_on": "2026-01-01 00:00:00"},
            ("incidents", "9d38"),
        ),
        ("wiz", "issue-changed", {"issue": {"id": "i1", "status": "OPEN"}}, (None, "i1")),
    ],
)
def test_a_delivery_names_the_record_that_is_read_anew(
    name: str, webhook: str, delivery: dict[str, Any], expected: tuple[str | None, str]
) -> None:
    made = next(each for each in connector(name).spec.webhooks or [] if each.name == webhook)
    assert made.refetch is not None
    stream = compile_expression(made.refetch.stream)(delivery) if made.refetch.stream.startswith("=") else None
    assert (stream, compile_expression(made.refetch.key)(delivery)) == expected
    assert made.dedupe is not None
    assert compile_expression(made.dedupe)(delivery)


def test_an_issue_carries_a_label_that_a_second_attempt_finds() -> None:
    values = {"project": "SEC", "issuetype": "Task", "summary": "Patch it", "labels": ["scanner"]}
    fields = sent("jira", "create-issue", {**values, "description": "Old.", "idempotency_key": "k1"})["fields"]
    assert fields["labels"] == ["scanner", "towline-k1"]
    assert fields["project"] == {"key": "SEC"}
    assert fields["description"]["content"][0]["content"] == [{"type": "text", "text": "Old."}]
    least = sent("jira", "create-issue", {key: values[key] for key in ("project", "issuetype", "summary")})["fields"]
    assert least == {"project": {"key": "SEC"}, "issuetype": {"name": "Task"}, "summary": "Patch it", "labels": []}
    lookup = found("jira", "create-issue").idempotency
    assert lookup is not None
    assert lookup.lookup is not None
    made = body.build(lookup.lookup, {"input": {"idempotency_key": "k1"}, "config": CONFIG})
    assert made is not None
    assert made.value["jql"] == 'labels = "towline-k1"'


def test_an_issue_is_given_to_nobody_and_keeps_the_labels_that_nobody_named() -> None:
    assert sent("jira", "assign-issue", {"key": "SEC-1"}) == {"accountId": None}
    changed = sent("jira", "update-issue", {"key": "SEC-1", "add_labels": ["seen"], "remove_labels": ["new"]})
    assert changed["update"] == {"labels": [{"add": "seen"}, {"remove": "new"}]}


def test_notable_events_are_named_one_by_one() -> None:
    made = sent("splunk", "update-notable", {"ids": ["a@@b", "c"], "status": "5"})
    assert body.form(made) == "ruleUIDs=a%40%40b&ruleUIDs=c&status=5&output_mode=json"


def test_a_member_of_a_group_is_named_by_its_address() -> None:
    made = sent("microsoft-entra-id", "add-to-group", {"group": "g", "member": "m"})
    assert made == {"@odata.id": "https://acme.example/v1.0/directoryObjects/m"}
