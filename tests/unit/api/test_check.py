"""The check without a cluster gives the verdicts of the API server (tests/api tries the same table there)."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.api.tables import load_cases

from towline.api.check import check

CATALOGUE = Path(__file__).parents[3] / "connectors" / "towline_connectors" / "catalogue"


@pytest.mark.parametrize(("body", "refused"), load_cases())
def test_offline_verdict_is_the_api_servers(body: dict[str, Any], refused: list[str]) -> None:
    sentences = check(body)

    if not refused:
        assert sentences == []
        return
    field = re.search(r"(metadata|spec)[\w.\[\]]*", refused[0])
    if field:
        assert any(sentence.startswith(field.group()) for sentence in sentences), sentences
    assert sentences


@pytest.mark.parametrize("path", sorted(CATALOGUE.rglob("connector.yaml")), ids=lambda path: path.parent.name)
def test_bundled_connector_is_right(path: Path) -> None:
    assert check(yaml.safe_load(path.read_text(encoding="utf-8"))) == []


def integration(**spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "towline.dev/v1alpha1",
        "kind": "Integration",
        "metadata": {"name": "x"},
        "spec": {"connectorRef": {"name": "a"}, **spec},
    }


def test_sentence_is_the_rules_own_and_names_the_file() -> None:
    assert check(integration(schedule={"cron": "every day"}), "intg.yaml") == [
        'intg.yaml: spec.schedule.cron: "every day" is not a cron expression: give five fields'
        " (minute hour day month weekday), or one of @hourly @daily @weekly @monthly @yearly"
    ]


def test_every_problem_is_told_at_once() -> None:
    found = check(integration(suspend=1, shedule={}, retry={"maxAttempts": 0}))

    assert [sentence.split(":")[0] for sentence in found] == ["spec.suspend", "spec.retry.maxAttempts", "spec.shedule"]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (
            {"kind": "Flow"},
            'kind: "Flow" is not a kind of Towline: write one of Connector, Integration, SyncJob',
        ),
        ({"apiVersion": "v1"}, 'apiVersion: "v1" is not known: write towline.dev/v1alpha1'),
        ({"metadata": {}}, "metadata.name: it is missing: add it"),
        (
            {"metadata": {"name": "My_App"}},
            'metadata.name: "My_App" is not a name for Kubernetes: use lower-case letters, digits and dashes;'
            " begin and end with a letter or digit",
        ),
    ],
)
def test_what_is_not_ours_is_told(change: dict[str, Any], sentence: str) -> None:
    assert check({**integration(), **change}) == [sentence]


def test_a_syncjob_may_leave_its_name_to_the_api_server() -> None:
    document = {
        "apiVersion": "towline.dev/v1alpha1",
        "kind": "SyncJob",
        "metadata": {"generateName": "by-hand-"},
        "spec": {"integrationRef": {"name": "tenable"}},
    }
    assert check(document) == []
